"""Nodes that make camera paths and hand them to the host's own nodes."""

from typing import Any

from ..reconx.export.plan import draw_plan
from ..reconx.export.wan_camera import wan_camera_embedding
from ..reconx.trajectory.options import MoveOptions, PathOptions
from ..reconx.trajectory.path import make_path, path_size
from ..reconx.types import Sim3
from .convert import (
    camera_to_host,
    keyframes_from_host,
    point_cloud_placement,
    viewer_placement,
)
from .runtime import library_call
from .schema import node_schema
from .sockets import CamerasSocket, Parcel, SceneSocket, io, pack

ORBIT = [
    io.Float.Input(
        "degrees",
        default=15.0,
        min=0.0,
        max=180.0,
        step=1.0,
        tooltip=(
            "How far the camera sways to each side. Higher: more of the place, and more that no "
            "photo saw. 180 with loop is a full circle."
        ),
    ),
    io.Float.Input(
        "radius",
        default=1.0,
        min=0.05,
        max=20.0,
        step=0.05,
        tooltip="Distance from the centre of the scene; 1 is the photos' own, lower is closer.",
    ),
]
KEYFRAMES = [
    io.Combo.Input(
        "posed_in",
        options=["splat", "point-cloud"],
        tooltip=(
            "Which viewer the keyframes come from. splat: Preview Splat or Create Camera Info, "
            "in world units. point-cloud: Preview Point Cloud of this very scene, which shows it "
            "centred and scaled; that is undone."
        ),
    )
]
PHOTO = io.Int.Input(
    "photo",
    default=0,
    min=0,
    max=9999,
    tooltip="The photo whose camera sets off, counted from 0; frame 0 is that photo.",
)
AMPLITUDE = io.Float.Input(
    "amplitude",
    default=0.2,
    min=-20.0,
    max=20.0,
    step=0.05,
    tooltip=(
        "How far, in distances to what the photo shows. Higher: more to see, and more that no "
        "photo saw; negative: the other way."
    ),
)
TURNS = io.Float.Input(
    "turns",
    default=2.0,
    min=0.0,
    max=100.0,
    step=0.25,
    tooltip="Rounds of the spiral. More: tighter rounds, and a faster sway.",
)
ROLL_DEGREES = io.Float.Input(
    "degrees",
    default=15.0,
    min=-360.0,
    max=360.0,
    step=1.0,
    tooltip="How far the camera turns clockwise. Higher: further; 360 is a full round.",
)
MOVES = {
    "spiral": [PHOTO, AMPLITUDE, TURNS],
    "dolly": [PHOTO, AMPLITUDE],
    "zoom": [PHOTO, AMPLITUDE],
    "dolly-zoom": [PHOTO, AMPLITUDE],
    "truck": [PHOTO, AMPLITUDE],
    "pedestal": [PHOTO, AMPLITUDE],
    "roll": [PHOTO, ROLL_DEGREES],
    "lemniscate": [PHOTO, AMPLITUDE],
}


class CameraPath(io.ComfyNode):
    """Scene -> cameras, one per frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_CameraPath",
            display_name="Camera Path",
            description="Lay a camera path through a scene: past every photo, around it, or free.",
            search_aliases=[
                "trajectory",
                "camera motion",
                "orbit",
                "keyframes",
                "dolly",
                "truck",
                "spiral",
            ],
            inputs=[
                SceneSocket.Input("scene", tooltip="Where the path lies."),
                *_frame_inputs(),
                io.DynamicCombo.Input(
                    "kind",
                    options=[
                        io.DynamicCombo.Option("interpolate", []),
                        io.DynamicCombo.Option("orbit", ORBIT),
                        io.DynamicCombo.Option("keyframes", KEYFRAMES),
                        *(io.DynamicCombo.Option(move, inputs) for move, inputs in MOVES.items()),
                    ],
                    tooltip=(
                        "interpolate: through all photos. orbit: sways around what they look at. "
                        "keyframes: through the cameras connected below, in their order. From one "
                        "photo: dolly goes closer, zoom enlarges, dolly-zoom goes closer at one "
                        "size, truck goes right, pedestal up, roll turns, spiral and lemniscate "
                        "(a lying eight) sway about it."
                    ),
                ),
                *_keyframe_inputs(),
            ],
            outputs=[
                CamerasSocket.Output("cameras", tooltip="One camera per frame."),
                io.Int.Output("frames", tooltip="How many there are, by the frame rule."),
                io.Int.Output("width", tooltip="Pixels."),
                io.Int.Output("height", tooltip="Pixels."),
                io.Image.Output(
                    "plan", tooltip="The place from above: points, photos (orange), path (blue)."
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(
        cls,
        scene: Parcel,
        width: int,
        height: int,
        kind: dict[str, Any],
        keyframes: dict[str, Any] | None = None,
        model_3d_info: list[dict[str, Any]] | None = None,
        **options: Any,
    ) -> io.NodeOutput:
        """Lay the path."""
        size = path_size(scene.value.photos, width or None, height or None)
        options |= _kind_options(**kind)
        if kind["kind"] == "keyframes":
            placement = viewer_placement(scene.value, kind["posed_in"], model_3d_info)
            posed = list((keyframes or {}).values())
            options["keyframes"] = keyframes_from_host(posed, placement, *size)
        path = make_path(
            scene.value,
            PathOptions(kind=kind["kind"], width=size[0], height=size[1], **options),
        )
        plan = draw_plan(scene.value, path.cameras)[None]
        return io.NodeOutput(pack(path), len(path), *size, plan)


def _kind_options(kind: str, **values: Any) -> dict[str, Any]:
    """What a kind's own inputs are in `PathOptions`; keyframes take more than that."""
    if kind == "orbit":
        return {"orbit_degrees": values["degrees"], "orbit_radius": values["radius"]}
    return {"move": MoveOptions(**values)} if kind in MOVES else {}


def _frame_inputs() -> list[io.Input]:
    """How many frames, how large, and at what pace."""
    return [
        io.Int.Input(
            "frames",
            default=49,
            min=1,
            max=10000,
            tooltip="Cameras of the path. More: a longer or slower film, and more work.",
        ),
        io.Combo.Input(
            "frame_rule",
            options=["any", "4k+1", "8k+1"],
            tooltip=(
                "Frame counts that your video model takes; others are rounded up. Wan, "
                "HunyuanVideo: 4k+1. LTX: 8k+1."
            ),
        ),
        _side_input(
            "width",
            "Pixels of a frame; 0 follows the height and the photos' shape. Another shape than the "
            "photos' shows their centre.",
        ),
        _side_input("height", "Pixels of a frame; 0 follows the width and the photos' shape."),
        io.Boolean.Input(
            "loop",
            default=False,
            tooltip="Whether the path leads back, so that the film can repeat for ever.",
        ),
        io.Combo.Input(
            "easing",
            options=["linear", "smooth"],
            tooltip="linear: an even pace. smooth: sets off and arrives slowly.",
        ),
    ]


def _side_input(name: str, tooltip: str) -> io.Int.Input:
    return io.Int.Input(name, default=0, min=0, max=8192, step=8, tooltip=tooltip)


def _keyframe_inputs() -> list[io.Input]:
    """Cameras posed in a viewer, and what the user did to the model there."""
    return [
        io.Autogrow.Input(
            "keyframes",
            optional=True,
            template=io.Autogrow.TemplatePrefix(
                io.Load3DCamera.Input(
                    "keyframe", optional=True, tooltip="A camera posed in a viewer."
                ),
                prefix="keyframe",
                min=0,
                max=50,
            ),
            tooltip="For the kind keyframes: two or more cameras posed in a viewer.",
        ),
        io.Load3DModelInfo.Input(
            "model_3d_info",
            optional=True,
            tooltip=(
                "From the keyframes' viewer: needed where the model was moved, turned, "
                "scaled or fitted there. Counts for all keyframes."
            ),
        ),
    ]


class CamerasToLoad3D(io.ComfyNode):
    """One camera of a path -> the host's camera."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_CamerasToLoad3D",
            display_name="Cameras to Camera Info",
            description="Hand one camera of a path to the 3D viewers and renderers of ComfyUI.",
            search_aliases=["camera_info", "load3d camera", "viewer camera", "pose"],
            inputs=[
                CamerasSocket.Input("cameras", tooltip="The path."),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=100000,
                    tooltip="Which frame's camera, counted from 0.",
                ),
                SceneSocket.Input(
                    "scene",
                    optional=True,
                    tooltip=(
                        "Only for Preview Point Cloud of this scene, which shows it centred and "
                        "scaled. Leave it empty for Preview Splat and Render Splat."
                    ),
                ),
            ],
            outputs=[
                io.Load3DCamera.Output(
                    "camera_info",
                    tooltip="Position, rotation and vertical field of view, in world units, Y up.",
                )
            ],
        )

    @classmethod
    @library_call
    def execute(cls, cameras: Parcel, index: int, scene: Parcel | None = None) -> io.NodeOutput:
        """Convert the camera."""
        placement = point_cloud_placement(scene.value) if scene else Sim3.identity()
        return io.NodeOutput(camera_to_host(cameras.value, index, placement))


class CamerasToWanCamera(io.ComfyNode):
    """Cameras -> camera control of the Wan video models."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_CamerasToWanCamera",
            display_name="Cameras to Wan Camera",
            description="Steer Wan Fun Camera models along a camera path.",
            search_aliases=["wan camera embedding", "plucker", "pluecker", "camera control"],
            inputs=[
                CamerasSocket.Input(
                    "cameras", tooltip="4k+1 cameras; width and height multiples of 16."
                ),
                io.Float.Input(
                    "motion_scale",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip=(
                        "Multiplies how far the camera moves, in median depths of the first photo. "
                        "Higher: the model moves more. 1 is as measured."
                    ),
                ),
            ],
            outputs=[
                io.WanCameraEmbedding.Output(
                    "camera_embedding", tooltip="Rays per pixel, for Wan Camera Image To Video."
                ),
                io.Int.Output("width", tooltip="Pixels."),
                io.Int.Output("height", tooltip="Pixels."),
                io.Int.Output("length", tooltip="Frames."),
            ],
        )

    @classmethod
    @library_call
    def execute(cls, cameras: Parcel, motion_scale: float) -> io.NodeOutput:
        """Compute the rays."""
        path = cameras.value.cameras
        embedding = wan_camera_embedding(path, motion_scale)
        return io.NodeOutput(embedding, path.width, path.height, len(path))
