"""Nodes of the structure condition: a scene as tokens that video models attend to."""

from pathlib import Path
from typing import Any

import torch

from ..reconx.structure.model import UNTRAINED, load_structure_model
from ..reconx.trajectory.options import CameraPath
from ..reconx.video.base import Guide
from .adapting import apply_structure
from .runtime import (
    ManagedModel,
    NodeProgress,
    host_dtype,
    library_call,
    manage,
    model_files,
    model_path,
)
from .schema import dtype_input, node_schema
from .sockets import (
    CamerasSocket,
    Parcel,
    SceneSocket,
    StructureModelSocket,
    StructureSocket,
    io,
    pack,
)

STRUCTURE_MODELS = "structure_models"
"""The model folder."""


class LoadStructureModel(io.ComfyNode):
    """A file -> encoder and adapter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_LoadStructureModel",
            display_name="Load Structure Model",
            description=(
                "Load an encoder and the adapter by which one video model reads a scene's "
                f"structure. {UNTRAINED}."
            ),
            search_aliases=["reconx adapter", "3d condition", "structure tokens", "checkpoint"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=model_files(STRUCTURE_MODELS),
                    tooltip=(
                        "A file of ComfyUI's folder models/structure_models, trained for the video "
                        "model that you use. Refresh (R) to see new ones."
                    ),
                ),
                dtype_input(
                    "Precision in which the adapter is kept. auto: bf16 where the device is good "
                    "at it, else fp32. It computes as the video model does."
                ),
            ],
            outputs=[
                StructureModelSocket.Output("structure_model", tooltip="For Encode Structure.")
            ],
        )

    @classmethod
    @library_call
    def execute(cls, file: str, dtype: str) -> io.NodeOutput:
        """Load the weights; the host moves the adapter when it is needed."""
        source = model_path(STRUCTURE_MODELS, file), host_dtype(dtype)
        model = load_structure_model(source[0], dtype=source[1])
        NodeProgress(cls.hidden.unique_id).say(
            f"For {model.adapter.sizes.family}, trained on {model.facts.training_data} for "
            f"{model.facts.steps} steps. Licence: {model.facts.licence}"
        )
        managed = ManagedModel(model, model.adapter)
        # How the host makes a copy for another device.
        managed.patcher.cached_patcher_init = (_load_handle, source)
        return io.NodeOutput(pack(managed))


def _load_handle(path: Path, dtype: torch.dtype) -> Any:
    return manage(load_structure_model(path, dtype=dtype).adapter)


class EncodeStructure(io.ComfyNode):
    """Scene and cameras -> structure tokens."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_EncodeStructure",
            display_name="Encode Structure",
            description=(
                "Make tokens of the points that were measured, as the first camera of a clip sees "
                "them."
            ),
            search_aliases=["structure tokens", "point cloud encoder", "3d condition"],
            inputs=[
                StructureModelSocket.Input("structure_model", tooltip="From Load Structure Model."),
                SceneSocket.Input("scene", tooltip="Whose measured points are encoded."),
                CamerasSocket.Input(
                    "cameras",
                    tooltip=(
                        "The clip that the tokens will guide; the points stand in its first "
                        "camera. Sample Views encodes anew for each of its clips."
                    ),
                ),
            ],
            outputs=[
                StructureSocket.Output(
                    "structure", tooltip="For Sample Views, or for Apply Structure."
                )
            ],
        )

    @classmethod
    @library_call
    def execute(cls, structure_model: Parcel, scene: Parcel, cameras: Parcel) -> io.NodeOutput:
        """Encode the scene."""
        path: CameraPath = cameras.value
        managed: ManagedModel = structure_model.value
        return io.NodeOutput(pack(managed.model.condition(scene.value, path.cameras[0])))


class ApplyStructure(io.ComfyNode):
    """MODEL and structure -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_ApplyStructure",
            display_name="Apply Structure",
            description=(
                "Let a video model of ComfyUI read a scene's structure, in a graph of your own "
                "with KSampler. Sample Views needs no such node."
            ),
            search_aliases=["reconx", "3d condition", "patch model", "adapter"],
            inputs=[
                io.Model.Input("model", tooltip="The video model for which the file was trained."),
                StructureSocket.Input("structure", tooltip="From Encode Structure."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip=(
                        "Guidance on the structure. 1 adds a few percent to the time; others ask "
                        "the model twice. Higher: closer to the point cloud; 0 leaves the model as "
                        "it came."
                    ),
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the denoising steps after which guidance sets in.",
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        "Share of the denoising steps after which guidance lets go. Lower: the "
                        "model smooths more over."
                    ),
                ),
            ],
            outputs=[io.Model.Output("model", tooltip="For KSampler.")],
        )

    @classmethod
    @library_call
    def execute(
        cls, model: Any, structure: Parcel, strength: float, start: float, end: float
    ) -> io.NodeOutput:
        """Patch a clone of the model."""
        guide = Guide(strength=strength, start=start, end=end)
        return io.NodeOutput(apply_structure(model, structure.value, guide))
