"""Which weights a video model takes, and how they are run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..checks import check_choice
from .base import BackboneSpec

DTYPES = ("auto", "bf16", "fp16", "fp32")
OFFLOADS = ("none", "model", "group")
PROMPT = (
    "A photograph of a still, real place. The camera glides through it slowly and steadily; "
    "nothing else moves. Sharp, natural light, consistent surfaces."
)
NEGATIVE_PROMPT = (
    "moving people, moving objects, flicker, morphing, blur, distortion, cuts, text, watermark"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What `make_backbone` needs for a backbone with weights."""

    folder: Path
    """A pipeline in the diffusers layout: model_index.json and a folder per component."""
    weights: Path | None = None
    """One safetensors file that takes the place of the folder's denoiser, of which only config.json
    is read then."""
    dtype: str = "auto"
    """Of the weights while they compute: "bf16", "fp16", "fp32", or "auto": fp32 on the CPU, else
    bf16 where the device knows it, else fp16."""
    offload: str = "model"
    """What waits on the CPU: "none" of it while a clip is made; with "model" the components that
    are not at work; with "group" all but the layers at work: least memory, slowest. Without a
    device beside the CPU there is nothing to choose."""
    vae_tiling: bool = True
    """Encode and decode pictures in tiles where the model can: far less memory, hardly visible."""
    prompt: str = PROMPT
    """What the frames show; backbones without a prompt ignore it."""
    negative_prompt: str = NEGATIVE_PROMPT
    """What they do not show."""
    make_room: Callable[[float], None] | None = None
    """Called with megabytes (1e6 bytes) before so much is put on the device, so that a host can
    unload models of its own."""

    def __post_init__(self) -> None:
        """Check names."""
        check_choice("Dtype", self.dtype, DTYPES)
        check_choice("Offload", self.offload, OFFLOADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec(BackboneSpec):
    """A backbone with weights, which the user brings."""

    repository: str
    """Where usual ones are published, on Hugging Face."""
