"""Nodes that have the host's own video models film a camera path."""

from typing import Any

from .conditions import HostModels
from .families import FAMILIES
from .runtime import library_call
from .sampling import HostBackbone, sampler_names, scheduler_names
from .schema import node_schema
from .sockets import BackboneSocket, io, pack


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
            ],
            outputs=[BackboneSocket.Output("backbone", tooltip="For Sample Views.")],
        )

    @classmethod
    @library_call
    def execute(cls, sampler: str, scheduler: str, **models: Any) -> io.NodeOutput:
        """Wrap the model."""
        return io.NodeOutput(pack(HostBackbone(HostModels(**models), sampler, scheduler)))
