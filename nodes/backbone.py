"""The node that chooses a video backbone of the library, with the models that it may load."""

from typing import Any

from ..reconx.video.base import BackboneSpec
from ..reconx.video.model_options import (
    DTYPES,
    NEGATIVE_PROMPT,
    OFFLOADS,
    PROMPT,
    ModelOptions,
    ModelSpec,
)
from ..reconx.video.registry import BACKBONES, make_backbone
from .runtime import library_call, make_room, model_files, model_folder, model_folders, model_path
from .schema import node_schema
from .sockets import BackboneSocket, io, pack

IN_FOLDER = "in-folder"
"""The choice of weights that lie in the model folder."""
DENOISERS = "diffusion_models"
"""The host's kind of model files that may take their place."""


class LoadBackbone(io.ComfyNode):
    """A name -> a video backbone."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_LoadBackbone",
            display_name="Load Video Backbone",
            description="Choose who makes the frames between the photos.",
            search_aliases=["video model", "warp", "view synthesis", "diffusion"],
            inputs=[
                io.DynamicCombo.Input(
                    "backbone",
                    options=[
                        io.DynamicCombo.Option(name, _model_inputs(spec))
                        for name, spec in BACKBONES.items()
                    ],
                    tooltip=" ".join(f"{name}: {spec.summary}" for name, spec in BACKBONES.items()),
                ),
            ],
            outputs=[BackboneSocket.Output("backbone", tooltip="For Sample Views.")],
        )

    @classmethod
    @library_call
    def execute(cls, backbone: dict[str, Any]) -> io.NodeOutput:
        """Look through the model's files; the first clip loads them."""
        name, options = backbone["backbone"], None
        if isinstance(BACKBONES[name], ModelSpec):
            own = backbone["weights"] == IN_FOLDER
            options = ModelOptions(
                folder=model_folder(backbone["model"]),
                weights=None if own else model_path(DENOISERS, backbone["weights"]),
                dtype=backbone["dtype"],
                offload=backbone["offload"],
                vae_tiling=backbone["vae_tiling"],
                prompt=backbone.get("prompt", ""),
                negative_prompt=backbone.get("negative_prompt", ""),
                make_room=make_room,
            )
        return io.NodeOutput(pack(make_backbone(name, options)))


def _model_inputs(spec: BackboneSpec) -> list[io.Input]:
    """What a backbone with weights asks for: inputs come last here, never between."""
    if not isinstance(spec, ModelSpec):
        return []
    return [
        io.Combo.Input(
            "model",
            options=model_folders(),
            tooltip=(
                f"A folder of models/diffusers that holds {spec.repository} or its kin, as "
                f"downloaded. GPU memory: {spec.memory}. Licence of the weights: {spec.licence}."
            ),
        ),
        io.Combo.Input(
            "weights",
            options=[IN_FOLDER, *_denoisers()],
            tooltip=(
                "in-folder: all weights come from the model folder. Else a file of "
                "models/diffusion_models takes the place of the folder's denoiser."
            ),
        ),
        io.Combo.Input(
            "dtype",
            options=list(DTYPES),
            tooltip=(
                "Precision of the weights while they compute. auto: bf16 where the GPU knows it, "
                "else fp16; fp32 on the CPU. fp32: exact, twice the memory."
            ),
        ),
        io.Combo.Input(
            "offload",
            options=list(OFFLOADS),
            default="model",
            tooltip=(
                "What waits in main memory. none: nothing while a clip is made; fastest. model: "
                "whole parts that are not at work. group: all but the layers at work; least GPU "
                "memory, slowest."
            ),
        ),
        io.Boolean.Input(
            "vae_tiling",
            default=True,
            tooltip=(
                "Encode and decode pictures in tiles, where the model can: far less memory, a "
                "little slower, hardly visible."
            ),
        ),
        *(_prompt_inputs() if spec.prompt else []),
    ]


def _denoisers() -> list[str]:
    return [name for name in model_files(DENOISERS) if name.endswith(".safetensors")]


def _prompt_inputs() -> list[io.Input]:
    return [
        io.String.Input(
            "prompt",
            default=PROMPT,
            multiline=True,
            tooltip="What the frames show. Add what the photos show: a kitchen, an old church ...",
        ),
        io.String.Input(
            "negative_prompt",
            default=NEGATIVE_PROMPT,
            multiline=True,
            tooltip="What the frames shall not show.",
        ),
    ]
