"""The host's families of video models, and what each can take. What is not listed is refused.

How the conditions of a clip reach them lies in `conditions.py` and its like.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from ..reconx.errors import BackboneMismatch
from ..reconx.trajectory.frame_rule import FrameRule
from ..reconx.video.base import BackboneSpec, ClipRequest, Dial
from .conditions import Conditions, HostModels, hold_known, take_frames
from .conditions_image import (
    prepare_cogvideox_i2v,
    prepare_hunyuan15,
    prepare_hunyuan_i2v,
    prepare_svd,
)
from .conditions_ltx import prepare_ltx
from .conditions_wan import prepare_first_last, prepare_masked, prepare_vace


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of models, as the host tells them apart."""

    name: str
    kind: str
    """The class in the host's `model_base`, by name."""
    channels: int | None = None
    """Channels that the network takes in; None = any."""
    mark: str | None = None
    """What the host's config of the network holds for this family alone."""
    prepare: Callable[[HostModels, ClipRequest], Conditions]
    """Makes a clip's conditions."""
    frame_rule: FrameRule = "4k+1"
    size_multiple: int = 16
    max_frames: int | None = None
    keyframes: Literal["first", "first_last", "any"] = "any"
    needs_first: bool = False
    renders: Literal["native", "blended"] = "blended"
    dials: tuple[Dial, ...] = ("keyframe_strength", "render_strength", "render_share")
    text_strength: float = 6.0
    boundary: float | None = None
    """Noise level below which a low-noise expert takes over; None = the family has none."""
    needs: tuple[str, ...] = ("positive", "negative")
    """Fields of `HostModels` that must be connected."""
    licence: str
    memory: str


def backbone_spec(family: Family) -> BackboneSpec:
    """What the clip driver needs to know of a family."""
    shared = ("name", "frame_rule", "size_multiple", "max_frames", "keyframes", "needs_first")
    given = {name: getattr(family, name) for name in (*shared, "renders", "dials", "text_strength")}
    return BackboneSpec(
        **given,
        factory="",
        prompt=True,
        default_steps=20,
        licence=family.licence,
        memory=family.memory,
    )


def find_family(models: HostModels) -> Family:
    """The family of a MODEL, as the host has recognised it.

    Raises:
        BackboneMismatch: If it is none that can be driven; names it, and those that can.
    """
    base = models.model.model
    config = base.model_config.unet_config
    channels = config.get("in_dim", config.get("in_channels"))
    for family in FAMILIES:
        fits = family.kind == type(base).__name__ and family.channels in (None, channels)
        if fits and (family.mark is None or family.mark in config):
            break
    else:
        raise BackboneMismatch(
            f"The connected model is a {type(base).__name__} with {channels} input channels; it "
            "cannot be driven along a path. Connect one of these: "
            f"{', '.join(family.name for family in FAMILIES)}."
        )
    if models.low_noise_model is not None:
        _check_low_noise_expert(family, models)
    if models.model_patch is not None:
        family = _with_uni3c(family, models)
    return family


def _check_low_noise_expert(family: Family, models: HostModels) -> None:
    """Require the second of two experts to be of the first one's family."""
    other = find_family(HostModels(models.low_noise_model, models.vae))
    if family.boundary is None or other.name != family.name:
        raise BackboneMismatch(
            f"A low-noise model of the family {other.name} was connected beside a model of the "
            f"family {family.name}; expected the two experts of Wan 2.2 A14B, which are of one "
            "family. Connect those, or no low-noise model."
        )


def _with_uni3c(family: Family, models: HostModels) -> Family:
    """The same family with its renders taken by a Uni3C control net."""
    patch = type(models.model_patch.model).__name__
    if family.kind != "WAN21" or patch != "WanUni3CControlnet":
        raise BackboneMismatch(
            f"A model patch {patch} was connected beside a model of the family {family.name}; "
            "expected a Uni3C control net (WanUni3CControlnet) beside a Wan 2.1 model. Connect "
            "those, or no model patch."
        )
    return replace(family, name=f"{family.name}+uni3c", renders="native")


def check_models(models: HostModels, family: Family) -> None:
    """Require what a family needs beside the MODEL, and a VAE of its own kind.

    Raises:
        BackboneMismatch: If something is missing, or the VAE makes other latents.
    """
    vae, wanted = models.vae, models.model.model.latent_format.latent_channels
    if getattr(vae, "first_stage_model", None) is None:
        raise BackboneMismatch(
            f"No VAE came with the model of the family {family.name}: its file holds none. Load "
            "the VAE that belongs to the model with Load VAE, and connect that."
        )
    if vae.latent_channels != wanted:
        raise BackboneMismatch(
            f"The VAE makes latents of {vae.latent_channels} channels, and the model of the family "
            f"{family.name} takes {wanted}. Load the VAE that belongs to the model."
        )
    missing = [name for name in family.needs if getattr(models, name) is None]
    if missing:
        raise BackboneMismatch(
            f"A model of the family {family.name} also needs {' and '.join(missing)}. Connect "
            "CLIP Text Encode to positive and negative, and Load CLIP Vision to clip_vision."
        )


WAN = "Apache-2.0"
HUNYUAN = "Tencent Hunyuan Community"
NVIDIA = "NVIDIA Open Model"
HELD: tuple[Dial, ...] = ("render_strength", "render_share")
T2V_BOUNDARY, I2V_BOUNDARY = 0.875, 0.9
"""Where the experts of Wan 2.2 A14B change: `boundary` in the configs published with them."""
FAMILIES = (
    Family(
        name="wan-vace",
        kind="WAN21_Vace",
        prepare=prepare_vace,
        renders="native",
        dials=("render_strength", "render_share"),
        max_frames=81,
        boundary=T2V_BOUNDARY,
        licence=WAN,
        memory="1.3B: 8 GB; 14B: 16 GB and more",
    ),
    Family(
        name="wan-flf2v",
        kind="WAN21",
        channels=36,
        mark="flf_pos_embed_token_number",
        prepare=prepare_first_last,
        keyframes="first_last",
        needs_first=True,
        dials=HELD,
        max_frames=81,
        licence=WAN,
        memory="14B: 16 GB and more",
    ),
    Family(
        name="wan-i2v",
        kind="WAN21",
        channels=36,
        prepare=prepare_masked,
        needs_first=True,
        renders="native",
        max_frames=81,
        boundary=I2V_BOUNDARY,
        licence=WAN,
        memory="Fun-InP 1.3B: 8 GB; 14B: 16 GB and more",
    ),
    Family(
        name="wan-t2v",
        kind="WAN21",
        channels=16,
        prepare=hold_known,
        max_frames=81,
        boundary=T2V_BOUNDARY,
        licence=WAN,
        memory="1.3B: 8 GB; 14B: 16 GB and more",
    ),
    Family(
        name="wan-ti2v",
        kind="WAN22",
        prepare=take_frames,
        size_multiple=32,
        max_frames=121,
        text_strength=5.0,
        licence=WAN,
        memory="5B: 8 GB and more",
    ),
    Family(
        name="ltx",
        kind="LTXV",
        prepare=prepare_ltx,
        frame_rule="8k+1",
        size_multiple=32,
        max_frames=257,
        renders="native",
        dials=("keyframe_strength", "render_strength"),
        text_strength=3.0,
        licence="LTXV Open Weights",
        memory="2B: 8 GB; 13B: 16 GB and more",
    ),
    Family(
        name="hunyuan-t2v",
        kind="HunyuanVideo",
        channels=16,
        prepare=hold_known,
        max_frames=129,
        text_strength=1.0,
        licence=HUNYUAN,
        memory="16 GB and more",
    ),
    Family(
        name="hunyuan-i2v",
        kind="HunyuanVideoI2V",
        prepare=prepare_hunyuan_i2v,
        needs_first=True,
        max_frames=129,
        text_strength=1.0,
        dials=HELD,
        licence=HUNYUAN,
        memory="16 GB and more",
    ),
    Family(
        name="hunyuan-1.5",
        kind="HunyuanVideo15",
        prepare=prepare_hunyuan15,
        max_frames=121,
        dials=HELD,
        licence=HUNYUAN,
        memory="12 GB and more",
    ),
    Family(
        name="cogvideox-t2v",
        kind="CogVideoX",
        channels=16,
        prepare=hold_known,
        max_frames=49,
        licence="CogVideoX (2B: Apache-2.0)",
        memory="2B: 8 GB; 5B: 12 GB and more",
    ),
    Family(
        name="cogvideox-i2v",
        kind="CogVideoX",
        channels=32,
        prepare=prepare_cogvideox_i2v,
        needs_first=True,
        max_frames=49,
        dials=HELD,
        licence="CogVideoX",
        memory="5B: 12 GB and more",
    ),
    Family(
        name="cosmos-t2v",
        kind="CosmosVideo",
        channels=16,
        prepare=hold_known,
        frame_rule="8k+1",
        max_frames=121,
        text_strength=7.0,
        licence=NVIDIA,
        memory="7B: 16 GB and more",
    ),
    Family(
        name="cosmos-i2v",
        kind="CosmosVideo",
        channels=17,
        prepare=take_frames,
        frame_rule="8k+1",
        max_frames=121,
        text_strength=7.0,
        licence=NVIDIA,
        memory="7B: 16 GB and more",
    ),
    Family(
        name="cosmos-predict2-i2v",
        kind="CosmosPredict2",
        channels=17,
        prepare=take_frames,
        max_frames=93,
        text_strength=4.0,
        licence=NVIDIA,
        memory="2B: 12 GB; 14B: 24 GB and more",
    ),
    Family(
        name="svd",
        kind="SVD_img2vid",
        prepare=prepare_svd,
        frame_rule="any",
        size_multiple=64,
        max_frames=25,
        needs_first=True,
        text_strength=2.5,
        needs=("clip_vision",),
        dials=HELD,
        licence="Stability AI Community",
        memory="8 GB and more",
    ),
)
