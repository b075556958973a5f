"""Nodes that take geometry which other models have found."""

from typing import Any

from ..reconx.export.scene_pictures import draw_scene
from ..reconx.geometry.estimators.base import GeometryOptions
from .convert import cloud_to_host, depth_from_host
from .runtime import NodeProgress, library_call
from .schema import long_side_input, node_schema
from .sockets import (
    DepthAnythingGeometry,
    MogeGeometry,
    Parcel,
    PhotosSocket,
    SceneSocket,
    io,
    pack,
)


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
