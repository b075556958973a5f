"""All video backbones."""

from collections.abc import Mapping
from functools import partial

from ..errors import InputError
from ..parts import load_part
from .base import BackboneSpec, VideoBackbone
from .model_options import ModelOptions, ModelSpec

_diffusers_spec = partial(
    ModelSpec,
    requires=("diffusers", "accelerate", "transformers", "ftfy"),
    # transformers is named so that pip finds a diffusers that goes with the one that is there.
    install="pip install diffusers accelerate ftfy transformers",
)

BACKBONES: dict[str, BackboneSpec] = {
    "warp": BackboneSpec(
        name="warp",
        factory=".video.backbones.warp:WarpBackbone",
        keyframes="any",
        needs_first=False,
        renders="native",
        summary="Blends the photos along the path through the point cloud; needs no weights.",
    ),
    "wan-vace": _diffusers_spec(
        name="wan-vace",
        structure_family="wan",
        factory=".video.backbones.diffusion.wan:WanVaceBackbone",
        licence="Apache-2.0",
        repository="Wan-AI/Wan2.1-VACE-1.3B-diffusers",
        memory="8 to 12 GB (1.3B), 16 to 24 GB (14B)",
        frame_rule="4k+1",
        size_multiple=16,
        max_frames=81,
        keyframes="any",
        needs_first=False,
        renders="native",
        prompt=True,
        text_strength=5.0,
        dials=("render_strength",),
        default_steps=30,
        summary="Wan VACE: paints what the point renders leave open; photos anywhere.",
    ),
    "wan-flf2v": _diffusers_spec(
        name="wan-flf2v",
        structure_family="wan",
        factory=".video.backbones.diffusion.wan:WanFirstLastBackbone",
        licence="Apache-2.0",
        repository="Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",
        memory="16 to 24 GB",
        frame_rule="4k+1",
        size_multiple=16,
        max_frames=81,
        keyframes="first_last",
        renders="blended",
        prompt=True,
        text_strength=5.0,
        dials=("render_strength", "render_share"),
        default_steps=30,
        summary="Wan FLF2V: from one photo to the next; renders held in its latents.",
    ),
    "ltx": _diffusers_spec(
        name="ltx",
        structure_family="ltx",
        factory=".video.backbones.diffusion.ltx:LtxBackbone",
        licence="LTX-Video Open Weights License",
        repository="Lightricks/LTX-Video-0.9.5",
        memory="about 10 GB",
        frame_rule="8k+1",
        size_multiple=32,
        max_frames=161,
        keyframes="any",
        needs_first=False,
        renders="native",
        prompt=True,
        text_strength=3.0,
        dials=("keyframe_strength", "render_strength"),
        default_steps=40,
        summary="LTX-Video: fast; photos anywhere, renders token by token.",
    ),
    "cogvideox": _diffusers_spec(
        name="cogvideox",
        structure_family="cogvideox",
        factory=".video.backbones.diffusion.cogvideox:CogVideoXBackbone",
        licence="CogVideoX License",
        repository="zai-org/CogVideoX1.5-5B-I2V",
        memory="about 16 GB",
        frame_rule="8k+1",
        size_multiple=16,
        max_frames=49,
        renders="blended",
        prompt=True,
        text_strength=6.0,
        dials=("render_strength", "render_share"),
        default_steps=50,
        summary="CogVideoX: goes on from a first photo; renders held in its latents.",
    ),
    "svd": _diffusers_spec(
        name="svd",
        structure_family="svd",
        factory=".video.backbones.diffusion.svd:SvdBackbone",
        licence="Stability AI Community License",
        repository="stabilityai/stable-video-diffusion-img2vid-xt",
        memory="10 to 16 GB",
        size_multiple=64,
        max_frames=25,
        renders="blended",
        dials=("render_strength", "render_share"),
        default_steps=25,
        summary="Stable Video Diffusion: goes on from a first photo; renders held in its latents.",
    ),
    "small": BackboneSpec(
        name="small",
        factory=".video.backbones.small.backbone:SmallBackbone",
        keyframes="any",
        needs_first=False,
        renders="native",
        structure_family="small",
        default_steps=1,
        summary="As warp, with holes filled by a small network that comes with the pack.",
    ),
}

RENAMED: Mapping[str, str] = {}


def make_backbone(name: str, options: ModelOptions | None = None) -> VideoBackbone:
    """Build a registered backbone.

    Args:
        name: One of `BACKBONES`.
        options: Which weights, and how they are run; for backbones with weights.

    Raises:
        InputError: If the name is unknown, options are missing or in vain, or files are damaged.
        MissingDependency: If its packages are absent.
        WeightsNotFound: If files are missing.
        BackboneMismatch: If the weights are another model's.
    """
    factory = load_part("Video backbone", BACKBONES, name, RENAMED)
    spec = BACKBONES[RENAMED.get(name, name)]
    if not isinstance(spec, ModelSpec):
        if options is not None:
            raise InputError(f"Video backbone '{name}' takes no model. Leave it out.")
        return factory(spec)
    if options is None:
        raise InputError(
            f"Video backbone '{name}' needs a model folder. Download {spec.repository} from "
            "Hugging Face, and give the folder."
        )
    return factory(spec, options)
