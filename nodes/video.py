"""Nodes that make frames along a camera path, views of frames, and say how far to trust them."""

from torch import Tensor

from ..reconx.export.scene_pictures import confidence_colours
from ..reconx.geometry.estimators.pairwise import MEMORY_MB
from ..reconx.render.edits import edit_renders
from ..reconx.render.points import render_scene
from ..reconx.splats.confidence.base import judge_views
from ..reconx.splats.confidence.registry import SOURCES, make_source
from ..reconx.types import PointRenders
from ..reconx.video.base import GuidanceOptions, Guide
from ..reconx.video.frames import views_from_frames
from ..reconx.video.sample import sample_views
from .convert import images_from_host, masks_from_host
from .runtime import NodeProgress, host_device, library_call
from .schema import node_schema, seed_input
from .sockets import (
    BackboneSocket,
    CamerasSocket,
    GuidanceSocket,
    Parcel,
    PointmapModelSocket,
    SceneSocket,
    StructureSocket,
    ViewsSocket,
    io,
    pack,
)


class GuidanceOptionsNode(io.ComfyNode):
    """Strengths -> guidance options."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_GuidanceOptions",
            display_name="Guidance Options",
            description=(
                "How strongly prompt, photos, point renders and structure guide a video backbone. "
                "What a backbone cannot vary is refused before any work."
            ),
            search_aliases=["cfg", "guidance scale", "strength"],
            inputs=[
                _strength_input(
                    "text_strength",
                    0.0,
                    "Classifier-free guidance on the prompt; 0 takes what suits the backbone. "
                    "Higher: closer to the prompt, harder contrasts; 1 switches it off and halves "
                    "the time.",
                    most=30.0,
                ),
                _strength_input(
                    "keyframe_strength",
                    1.0,
                    "How strongly photos on the path hold the frames beside them. Lower: those "
                    "frames may depart from the photo. The photos' own frames stay the photos.",
                ),
                _strength_input(
                    "render_strength",
                    1.0,
                    "How strongly point renders hold the pixels that photos saw. Higher: truer to "
                    "the points, their errors included; lower: smoother; 0 leaves them out.",
                ),
                *_share_inputs("render", "0.6 where renders are blended into latents, else 1"),
                _strength_input(
                    "structure_strength",
                    1.0,
                    "Guidance on the 3D structure tokens. Higher: closer to the point cloud; "
                    "1 asks the model once, others twice; 0 leaves them out.",
                ),
                *_share_inputs("structure", "1"),
            ],
            outputs=[GuidanceSocket.Output("guidance", tooltip="For Sample Views.")],
        )

    @classmethod
    @library_call
    def execute(
        cls,
        text_strength: float,
        keyframe_strength: float,
        render_strength: float,
        render_start: float,
        render_end: float,
        structure_strength: float,
        structure_start: float,
        structure_end: float,
    ) -> io.NodeOutput:
        """Collect the options; 0 stands for what suits the backbone."""
        guidance = GuidanceOptions(
            text_strength=text_strength or None,
            keyframes=Guide(strength=keyframe_strength),
            renders=Guide(strength=render_strength, start=render_start, end=render_end or None),
            structure=Guide(
                strength=structure_strength, start=structure_start, end=structure_end or None
            ),
        )
        return io.NodeOutput(pack(guidance))


def _strength_input(
    name: str, default: float, tooltip: str, *, most: float = 10.0
) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=most, step=0.05, tooltip=tooltip)


def _share_inputs(condition: str, suits: str) -> list[io.Float.Input]:
    """When in the denoising a condition sets in, and when it lets go."""
    tooltips = {
        "start": (
            f"Share of the denoising steps after which {condition} guidance sets in. Higher: "
            "the model lays out more by itself first."
        ),
        "end": (
            f"Share of the denoising steps after which {condition} guidance lets go; 0 takes what "
            f"suits the backbone ({suits}). Lower: the model smooths more over."
        ),
    }
    return [
        io.Float.Input(
            f"{condition}_{name}", default=0.0, min=0.0, max=1.0, step=0.05, tooltip=tooltip
        )
        for name, tooltip in tooltips.items()
    ]


class SampleViews(io.ComfyNode):
    """Backbone, scene and cameras -> a frame per camera."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_SampleViews",
            display_name="Sample Views",
            description=(
                "Make a frame for every camera of a path. Frames that are photos come back as the "
                "photos."
            ),
            search_aliases=["novel view synthesis", "video diffusion", "interpolate", "keyframes"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                BackboneSocket.Input("backbone", tooltip="Who makes the frames."),
                SceneSocket.Input("scene", tooltip="What is filmed."),
                CamerasSocket.Input("cameras", tooltip="One frame per camera, at their size."),
                seed_input(
                    "Seeds every random choice; the same seed gives the same frames. warp "
                    "makes none."
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip=(
                        "Denoising steps; 0 takes what suits the backbone. Higher: finer, and "
                        "slower in proportion. warp does not denoise and ignores them."
                    ),
                ),
                GuidanceSocket.Input(
                    "guidance", optional=True, tooltip="Strengths; without it the defaults."
                ),
                *_edit_inputs(),
                StructureSocket.Input(
                    "structure",
                    optional=True,
                    tooltip=(
                        "The scene as tokens, encoded anew for each clip; the backbone must be of "
                        "the family for which they were trained."
                    ),
                ),
            ],
            outputs=[
                ViewsSocket.Output(
                    "views", tooltip="Frames and cameras; confidence only from warp and small."
                ),
                io.Image.Output("images", tooltip="The frames, in the order of the path."),
            ],
        )

    @classmethod
    @library_call
    def execute(
        cls,
        backbone: Parcel,
        scene: Parcel,
        cameras: Parcel,
        seed: int,
        steps: int,
        guidance: Parcel | None = None,
        structure: Parcel | None = None,
        **edits: Tensor,
    ) -> io.NodeOutput:
        """Make the frames."""
        views = sample_views(
            backbone.value,
            scene.value,
            cameras.value,
            renders=_edited(scene, cameras, edits, NodeProgress(cls.hidden.unique_id)),
            structure=structure.value.model if structure else None,
            steps=steps or None,
            guidance=guidance.value if guidance else None,
            seed=seed,
            device=host_device(),
            progress=NodeProgress(cls.hidden.unique_id),
        )
        return io.NodeOutput(pack(views), views.frames)


def _edit_inputs() -> list[io.Input]:
    """What somebody changed of the point renders."""
    return [
        io.Image.Input(
            "edited_renders",
            optional=True,
            tooltip=(
                "What Render Point Cloud gave for these cameras, edited: frames show the "
                "edit. Keep count and size. What you painted into holes counts only with "
                "holes connected, black there."
            ),
        ),
        io.Mask.Input(
            "holes",
            optional=True,
            tooltip=(
                "White: to be made up, whatever the points show. Black: as in the renders. "
                "Without it, the holes are the point cloud's own."
            ),
        ),
    ]


def _edited(
    scene: Parcel,
    cameras: Parcel,
    edits: dict[str, Tensor],
    progress: NodeProgress,
) -> PointRenders | None:
    """The path's point renders with somebody's changes; None without any."""
    images, holes = edits.get("edited_renders"), edits.get("holes")
    if images is None and holes is None:
        return None
    plain = render_scene(
        scene.value, cameras.value.cameras, device=host_device(), progress=progress
    )
    return edit_renders(
        plain,
        None if images is None else images_from_host(images),
        None if holes is None else masks_from_host(holes),
    )


class ViewsFromFrames(io.ComfyNode):
    """Frames of any sampler -> views."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_ViewsFromFrames",
            display_name="Views From Frames",
            description=(
                "Take the frames that any video model made along a camera path, so that they can "
                "train a splat. Photos on the path come back as themselves."
            ),
            search_aliases=["video to views", "vace", "uni3c", "sampler frames"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Image.Input("frames", tooltip="One per camera of the path, in its order."),
                CamerasSocket.Input(
                    "cameras", tooltip="The path that the frames follow; they get its size."
                ),
                SceneSocket.Input("scene", tooltip="What they show."),
            ],
            outputs=[
                ViewsSocket.Output(
                    "views",
                    tooltip="Frames with cameras; nobody has judged them, see Judge Frames.",
                ),
                io.Image.Output(
                    "images", tooltip="The frames at the path's size, with the photos."
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(cls, frames: Tensor, cameras: Parcel, scene: Parcel) -> io.NodeOutput:
        """Wrap the frames."""
        views = views_from_frames(
            images_from_host(frames),
            scene.value,
            cameras.value,
            device=host_device(),
            progress=NodeProgress(cls.hidden.unique_id),
        )
        return io.NodeOutput(pack(views), views.frames)


class JudgeFrames(io.ComfyNode):
    """Views -> the same views with a confidence per pixel."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_JudgeFrames",
            display_name="Judge Frames",
            description=(
                "Say of every pixel of generated frames how far to trust it, and show that. In Fit "
                "Splat, frames train as far as they are trusted."
            ),
            search_aliases=["confidence", "uncertainty", "trust", "weights", "consistency"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                SceneSocket.Input("scene", tooltip="What the frames show."),
                ViewsSocket.Input(
                    "views", tooltip="Frames along a path; who has judged them before is overruled."
                ),
                io.Combo.Input(
                    "source",
                    options=list(SOURCES),
                    tooltip=(
                        "Who judges. "
                        + " ".join(f"{name}: {spec.summary}" for name, spec in SOURCES.items())
                    ),
                ),
                PointmapModelSocket.Input(
                    "model",
                    optional=True,
                    tooltip="From Load Pointmap Model; for pairwise, agreement leaves it alone.",
                ),
            ],
            outputs=[
                ViewsSocket.Output("views", tooltip="The views, judged; for Fit Splat."),
                io.Image.Output(
                    "confidence",
                    tooltip=(
                        "Per frame: black where nothing speaks for it, brightest where it counts "
                        "as much as a photo. Frames that are photos are all bright."
                    ),
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(
        cls, scene: Parcel, views: Parcel, source: str, model: Parcel | None = None
    ) -> io.NodeOutput:
        """Judge the frames."""
        network = model.value.model if model else None
        judge = make_source(source, device=host_device(), model=network)
        if model and source == "pairwise":
            model.value.load(MEMORY_MB)
        progress = NodeProgress(cls.hidden.unique_id)
        judged = judge_views(views.value, scene.value, judge, progress)
        assert judged.confidence is not None, "judged"
        return io.NodeOutput(pack(judged), confidence_colours(judged.confidence))
