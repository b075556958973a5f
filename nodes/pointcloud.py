"""Nodes that make and change the global point cloud."""

from ..reconx.export.scene_pictures import draw_scene
from ..reconx.geometry.estimators.base import GeometryOptions
from ..reconx.geometry.estimators.registry import make_estimator
from .convert import cloud_to_host
from .runtime import NodeProgress, host_device, library_call
from .sockets import Parcel, PhotosSocket, SceneSocket, io, pack


class BuildPointCloud(io.ComfyNode):
    """Photos -> cameras, pointmaps and confidence."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return io.Schema(
            node_id="ReconX_BuildPointCloud",
            display_name="Build Point Cloud",
            category="ReconX",
            description=(
                "Find where each photo was taken and how far every pixel is: one global point "
                "cloud with a confidence per point."
            ),
            search_aliases=["structure from motion", "sfm", "colmap", "photogrammetry", "stereo"],
            is_experimental=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                PhotosSocket.Input("photos", tooltip="Two or more photos of one place."),
                io.Int.Input(
                    "size",
                    default=512,
                    min=64,
                    max=4096,
                    step=16,
                    tooltip=(
                        "Long side in pixels of the photos that later stages see. Higher: finer "
                        "detail; time and memory grow with its square."
                    ),
                ),
                io.Int.Input(
                    "depth_size",
                    default=512,
                    min=64,
                    max=4096,
                    step=16,
                    tooltip=(
                        "Long side in pixels of the depth maps. Higher: more points and thinner "
                        "structures; time grows with its square."
                    ),
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFF,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Seeds every random choice; the same seed gives the same cloud.",
                ),
                io.DynamicCombo.Input(
                    "estimator",
                    options=[io.DynamicCombo.Option("stereo", [])],
                    tooltip=(
                        "Who finds the geometry. stereo: classical matching and multi-view "
                        "stereo; needs no weights and no GPU."
                    ),
                ),
            ],
            outputs=[
                SceneSocket.Output("scene", tooltip="Cameras, points, confidence and photos."),
                io.File3DPLY.Output(
                    "point_cloud", tooltip="The measured points, for Preview Point Cloud."
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
        cls, photos: Parcel, size: int, depth_size: int, seed: int, estimator: dict[str, str]
    ) -> io.NodeOutput:
        """Estimate the geometry."""
        options = GeometryOptions(
            fit_size=size, geometry_size=depth_size, device=host_device(), seed=seed
        )
        maker = make_estimator(estimator["estimator"], options)
        scene = maker.estimate(photos.value, NodeProgress(cls.hidden.unique_id))
        return io.NodeOutput(pack(scene), cloud_to_host(scene), draw_scene(scene))
