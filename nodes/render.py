"""Nodes that draw a scene along a camera path."""

from ..reconx.export.depth_frames import draw_depth_frames
from ..reconx.render.points import render_scene
from .runtime import NodeProgress, host_device, library_call
from .schema import node_schema
from .sockets import CamerasSocket, Parcel, SceneSocket, io


class RenderPointCloud(io.ComfyNode):
    """Scene and cameras -> pictures with holes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_RenderPointCloud",
            display_name="Render Point Cloud",
            description=(
                "Draw the measured points along a camera path, with a mask of what no photo saw: "
                "control video and mask for any video model that takes them."
            ),
            search_aliases=["point render", "warp", "control video", "vace", "uni3c", "depth map"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                SceneSocket.Input("scene", tooltip="Whose measured points are drawn."),
                CamerasSocket.Input("cameras", tooltip="One picture per camera, at their size."),
            ],
            outputs=[
                io.Image.Output("images", tooltip="The points; black where there is none."),
                io.Mask.Output(
                    "holes",
                    tooltip="White where no photo saw a surface: what inpainting has to fill.",
                ),
                io.Image.Output(
                    "depth",
                    tooltip=(
                        "1 / depth, white near and black far on one scale for all frames; black in "
                        "holes."
                    ),
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(cls, scene: Parcel, cameras: Parcel) -> io.NodeOutput:
        """Draw the points."""
        renders = render_scene(
            scene.value,
            cameras.value.cameras,
            device=host_device(),
            progress=NodeProgress(cls.hidden.unique_id),
        )
        depth = draw_depth_frames(renders.depth, renders.hole)
        return io.NodeOutput(renders.colour, renders.hole.float(), depth)
