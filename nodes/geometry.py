"""Nodes for networks that find geometry: ours, and what the host's have found."""

from typing import Any

from ..reconx.export.scene_pictures import draw_scene
from ..reconx.geometry.dust3r.model import load_dust3r
from ..reconx.geometry.estimators.base import GeometryOptions
from .convert import cloud_to_host, depth_from_host
from .runtime import (
    ManagedModel,
    NodeProgress,
    host_dtype,
    library_call,
    model_files,
    model_path,
)
from .schema import dtype_input, long_side_input, node_schema
from .sockets import (
    DepthAnythingGeometry,
    MogeGeometry,
    Parcel,
    PhotosSocket,
    PointmapModelSocket,
    SceneSocket,
    io,
    pack,
)

POINTMAP_MODELS = "pointmap_models"
"""The model folder."""


class LoadPointmapModel(io.ComfyNode):
    """A checkpoint -> a pointmap model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_LoadPointmapModel",
            display_name="Load Pointmap Model",
            description=(
                "Load a DUSt3R checkpoint for the estimator dust3r of Build Point Cloud, and for "
                "Judge Frames. The published weights are under CC BY-NC-SA 4.0: not for commercial "
                "use."
            ),
            search_aliases=["dust3r", "pointmap", "checkpoint", "geometry model"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=model_files(POINTMAP_MODELS),
                    tooltip=(
                        "A checkpoint in ComfyUI's folder models/pointmap_models: safetensors, or "
                        "the official .pth. Refresh (R) to see new ones."
                    ),
                ),
                dtype_input(
                    "Precision of the weights. auto: bf16 where the device is good at it, else "
                    "fp32. bf16 and fp16 halve memory and are coarser; fp32 is exact."
                ),
            ],
            outputs=[
                PointmapModelSocket.Output(
                    "pointmap_model",
                    tooltip="For dust3r of Build Point Cloud, pairwise of Judge Frames.",
                )
            ],
        )

    @classmethod
    @library_call
    def execute(cls, file: str, dtype: str) -> io.NodeOutput:
        """Load the weights; the host moves them to its device when they are needed."""
        model = load_dust3r(model_path(POINTMAP_MODELS, file), dtype=host_dtype(dtype))
        NodeProgress(cls.hidden.unique_id).say(f"Licence of {file}: {model.checkpoint.licence}")
        return io.NodeOutput(pack(ManagedModel(model, model.network)))


class SceneFromGeometry(io.ComfyNode):
    """Depth of the host's models -> a scene, or what a scene lacks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_SceneFromGeometry",
            display_name="Scene From Geometry",
            description=(
                "Make a scene of what Depth Anything 3 found in multi-view mode, or of the depth "
                "of one photo. With a scene connected, fill what it has not measured."
            ),
            search_aliases=["depth anything 3", "da3", "moge", "depth to point cloud", "fill"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                PhotosSocket.Input("photos", tooltip="The photos."),
                io.MultiType.Input(
                    "geometry",
                    [DepthAnythingGeometry, MogeGeometry],
                    tooltip=(
                        "From Run Depth Anything 3 or Run MoGe Inference, which got the 'images' "
                        "of the node that loads the photos. Several photos need multi-view mode, "
                        "or a scene to fill."
                    ),
                ),
                long_side_input(
                    "size",
                    "Long side in pixels of the photos that later stages see. Higher: finer "
                    "detail; time and memory grow with its square. A connected scene keeps its "
                    "own.",
                    default=512,
                    most=4096,
                ),
                long_side_input(
                    "depth_size",
                    "Long side in pixels of the depth maps. Higher: more points; time grows with "
                    "its square. A connected scene keeps its own.",
                    default=512,
                    most=4096,
                ),
                SceneSocket.Input(
                    "scene",
                    optional=True,
                    tooltip=(
                        "A scene of these photos: what it measured stays, and depth scaled to that "
                        "fills the rest."
                    ),
                ),
            ],
            outputs=[
                SceneSocket.Output("scene", tooltip="Cameras, points, confidence and photos."),
                io.File3DPLY.Output(
                    "point_cloud", tooltip="The trusted points, for Preview Point Cloud."
                ),
                io.Image.Output(
                    "depth_and_confidence",
                    tooltip="Per photo: depth, then confidence; black where nothing stands.",
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(
        cls,
        photos: Parcel,
        geometry: dict[str, Any],
        size: int,
        depth_size: int,
        scene: Parcel | None = None,
    ) -> io.NodeOutput:
        """Make or fill the scene."""
        # Not above: it brings scipy, which ComfyUI's start need not wait for.
        from ..reconx.geometry.given import fill_scene, scene_from_depth

        given, progress = depth_from_host(geometry), NodeProgress(cls.hidden.unique_id)
        if scene is None:
            options = GeometryOptions(fit_size=size, geometry_size=depth_size)
            made = scene_from_depth(photos.value, given, options, progress)
        else:
            made = fill_scene(scene.value, photos.value, given, progress)
        return io.NodeOutput(pack(made), cloud_to_host(made), draw_scene(made))
