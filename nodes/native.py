"""Nodes that have the host's own video models film a camera path."""

from typing import Any

from torch import Tensor

from ..reconx.video.fitting import MAX_MULTIPLE
from ..reconx.video.frames import views_from_frames
from ..reconx.video.pieces import join_pieces, split_path
from .conditions import HostModels
from .convert import images_from_host
from .families import FAMILIES
from .runtime import NodeProgress, host_device, library_call
from .sampling import HostBackbone, sampler_names, scheduler_names
from .schema import node_schema
from .sockets import (
    BackboneSocket,
    CamerasSocket,
    Parcel,
    SceneSocket,
    ViewsSocket,
    io,
    pack,
)


class BackboneFromModel(io.ComfyNode):
    """A video model of the host -> a video backbone."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_BackboneFromModel",
            display_name="Video Backbone From Model",
            description=(
                "Let a video model of ComfyUI, with its LoRAs and patches, make the frames between "
                "the photos. It is told apart by itself: "
                f"{', '.join(family.name for family in FAMILIES)}."
            ),
            search_aliases=["wan", "vace", "uni3c", "ltx", "hunyuan", "cogvideox", "cosmos", "svd"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A video model; fp8, GGUF, LoRAs and sampling patches are fine.",
                ),
                io.Vae.Input("vae", tooltip="The VAE that belongs to the model."),
                io.Combo.Input(
                    "sampler",
                    options=sampler_names(),
                    default="euler",
                    tooltip="How each step is taken, as in KSampler. euler suits every model.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=scheduler_names(),
                    default="simple",
                    tooltip="How noise falls from step to step, as in KSampler.",
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="What the place is; a few words do. SVD alone works without.",
                ),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="What shall not be seen: people, motion. SVD alone works without.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip=(
                        "Looks at the photos of each clip, for Wan image to video (CLIP vision H) "
                        "and SVD (its own). Others do not use it."
                    ),
                ),
                io.ModelPatch.Input(
                    "model_patch",
                    optional=True,
                    tooltip=(
                        "A Uni3C control net, for Wan 2.1 14B: it takes the point renders. Others "
                        "are refused."
                    ),
                ),
                io.Model.Input(
                    "low_noise_model",
                    optional=True,
                    tooltip=(
                        "Wan 2.2 A14B alone: its low-noise expert; the high-noise one then goes "
                        "to model. It takes over by itself where it was trained to."
                    ),
                ),
            ],
            outputs=[BackboneSocket.Output("backbone", tooltip="For Sample Views.")],
        )

    @classmethod
    @library_call
    def execute(cls, sampler: str, scheduler: str, **models: Any) -> io.NodeOutput:
        """Wrap the model."""
        return io.NodeOutput(pack(HostBackbone(HostModels(**models), sampler, scheduler)))


class SplitPath(io.ComfyNode):
    """A camera path -> lists with one entry per clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_SplitPath",
            display_name="Split Path",
            description=(
                "Cut a camera path at its photos. What follows runs once per clip, with any nodes "
                "of yours, until Join Views."
            ),
            search_aliases=[
                "clips",
                "first last frame",
                "start image",
                "end image",
                "vace",
                "list",
            ],
            hidden=[io.Hidden.unique_id],
            inputs=[
                SceneSocket.Input("scene", tooltip="What is filmed."),
                CamerasSocket.Input(
                    "cameras", tooltip="The path; photos on it are where it is cut."
                ),
                io.Combo.Input(
                    "frame_rule",
                    options=["any", "4k+1", "8k+1"],
                    default="4k+1",
                    tooltip=(
                        "Frame counts that your video model takes. Wan, HunyuanVideo: 4k+1. LTX: "
                        "8k+1. Each clip is lengthened to the next such count."
                    ),
                ),
                io.Int.Input(
                    "max_frames",
                    default=81,
                    min=2,
                    max=10000,
                    tooltip=(
                        "Longest clip in frames. Lower: less memory, and cuts where no photo "
                        "stands; such ends show the point render."
                    ),
                ),
                io.Int.Input(
                    "size_multiple",
                    default=16,
                    min=1,
                    max=MAX_MULTIPLE,
                    tooltip="Width and height are rounded to multiples of this: Wan 16, LTX 32.",
                ),
            ],
            outputs=[
                CamerasSocket.Output(
                    "cameras", is_output_list=True, tooltip="Each clip's part of the path."
                ),
                io.Image.Output(
                    "start_image", is_output_list=True, tooltip="The photo at each clip's start."
                ),
                io.Image.Output(
                    "end_image", is_output_list=True, tooltip="The photo at each clip's end."
                ),
                io.Image.Output(
                    "renders",
                    is_output_list=True,
                    tooltip="Point renders with the photos in them; mid grey in holes.",
                ),
                io.Mask.Output(
                    "holes", is_output_list=True, tooltip="White: what the model has to make up."
                ),
                io.Int.Output("length", is_output_list=True, tooltip="Frames to sample, per clip."),
                io.Int.Output("width", tooltip="Pixels, for all clips."),
                io.Int.Output("height", tooltip="Pixels, for all clips."),
            ],
        )

    @classmethod
    @library_call
    def execute(cls, scene: Parcel, cameras: Parcel, **rules: Any) -> io.NodeOutput:
        """Cut the path."""
        pieces = split_path(
            scene.value,
            cameras.value,
            **rules,
            device=host_device(),
            progress=NodeProgress(cls.hidden.unique_id),
        )
        first = pieces[0].cameras
        return io.NodeOutput(
            [pack(piece.path) for piece in pieces],
            [piece.start[None] for piece in pieces],
            [piece.end[None] for piece in pieces],
            [piece.control.frames for piece in pieces],
            [(~piece.control.known).float() for piece in pieces],
            [len(piece.cameras) for piece in pieces],
            first.width,
            first.height,
        )


class JoinViews(io.ComfyNode):
    """Clips, one per entry of a list -> views."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_JoinViews",
            display_name="Join Views",
            description=(
                "Put clips that were made after Split Path behind each other, so that they can "
                "train a splat. Photos on the path come back as themselves, each once."
            ),
            search_aliases=["concatenate clips", "list to views", "clip by clip", "stitch"],
            is_input_list=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Image.Input(
                    "frames", tooltip="The clips, in the order and at the length of Split Path."
                ),
                CamerasSocket.Input("cameras", tooltip="From Split Path: each clip's cameras."),
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
                CamerasSocket.Output("cameras", tooltip="The whole path again."),
            ],
        )

    @classmethod
    @library_call
    def execute(
        cls, frames: list[Tensor], cameras: list[Parcel], scene: list[Parcel]
    ) -> io.NodeOutput:
        """Join the clips."""
        film, path = join_pieces(
            [images_from_host(clip) for clip in frames], [part.value for part in cameras]
        )
        views = views_from_frames(
            film,
            scene[0].value,
            path,
            device=host_device(),
            progress=NodeProgress(cls.hidden.unique_id),
        )
        return io.NodeOutput(pack(views), views.frames, pack(path))
