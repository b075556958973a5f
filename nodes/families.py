"""The host's families of video models: what each takes, and how a clip's conditions reach it.

Conditions are made by the host's own nodes wherever one does just that, and else by setting the
values that those nodes set. What is not listed is refused by name.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..reconx.checks import check_range
from ..reconx.errors import BackboneMismatch
from ..reconx.trajectory.frame_rule import FrameRule
from ..reconx.video.base import BackboneSpec, ClipRequest, Dial
from ..reconx.video.conditions import known_pixels, make_control_video
from ..reconx.video.latents import known_latents

Conditioning = list[list[Any]]
"""The host's CONDITIONING: pairs of an embedding and a dict of values."""


class HostModels(NamedTuple):
    """What the user has connected, as the host hands it over."""

    model: Any
    vae: Any
    positive: Conditioning | None = None
    negative: Conditioning | None = None
    clip_vision: Any = None
    model_patch: Any = None


class Known(NamedTuple):
    """Latents that are held while others are made up."""

    latents: Float[Tensor, "..."]
    """As the VAE gives them."""
    captured: Bool[Tensor, "..."]
    """Those that stand for pixels of keyframes alone; one channel, else shaped like `latents`."""
    rendered: Bool[Tensor, "..."]
    """The others that stand for known pixels alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """All that the host's sampler is given for one clip."""

    model: Any
    positive: Conditioning
    negative: Conditioning
    samples: Tensor
    """Latents as the VAE gives them: what `noise_mask` keeps, 0 elsewhere."""
    noise_mask: Tensor | None = None
    """Where the model makes latents (1) and where it was trained to take them as they are (0)."""
    known: Known | None = None
    """What is blended in."""
    finish: Callable[[Tensor], Tensor] = lambda latents: latents
    """Takes off what was only a condition."""


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
    if models.model_patch is not None:
        family = _with_uni3c(family, models)
    return family


def _with_uni3c(family: Family, models: HostModels) -> Family:
    """The same family with its renders taken by a Uni3C control net."""
    patch = type(models.model_patch.model).__name__
    if family.kind != "WAN21" or patch != "WanUni3CControlnet":
        raise BackboneMismatch(
            f"A model patch {patch} was connected beside a model of the family {family.name}; "
            "expected a Uni3C control net (WanUni3CControlnet) beside a Wan 2.1 model. Connect "
            "those, or no model patch."
        )
    return replace(
        family,
        name=f"{family.name}+uni3c",
        renders="native",
        dials=("keyframe_strength", "render_strength"),
    )


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


def _held(models: HostModels, request: ClipRequest) -> Conditions:
    """Text alone guides the model: photos and renders are blended into its latents."""
    model, request = _with_renders(models, request)
    known = _encode_known(models.vae, request)
    return replace(_empty(models, known.latents), model=model, known=known)


def _empty(models: HostModels, latents: Tensor) -> Conditions:
    """Latents like these, made from text alone."""
    return Conditions(
        model=models.model,
        positive=models.positive,
        negative=models.negative,
        samples=torch.zeros_like(latents),
    )


def _with_renders(models: HostModels, request: ClipRequest) -> tuple[Any, ClipRequest]:
    """The model, and what is left to tell it: a Uni3C control net takes the renders."""
    if models.model_patch is None:
        return models.model, request
    from comfy_extras.nodes_model_patch import WanUni3CControlnetApply

    strength = request.guidance.renders.strength
    (model,) = WanUni3CControlnetApply().apply_patch(
        models.model, models.model_patch, models.vae, request.renders.colour, strength, 0.0, 1.0
    )
    return model, _without_renders(request)


def _without_renders(request: ClipRequest) -> ClipRequest:
    """The same clip, of which only keyframes are known."""
    hole = torch.ones_like(request.renders.hole)
    return replace(request, renders=replace(request.renders, hole=hole))


def _encode_known(vae: Any, request: ClipRequest) -> Known:
    """What is known of a clip, as latents."""
    _check_strengths(request)
    time, space = vae.temporal_compression_decode(), vae.spacial_compression_encode()
    captured, known = (
        known_latents(part, time_stride=time or 1, space_stride=space) for part in _known(request)
    )
    # Without compression in time the frames are a batch of pictures.
    shape = (len(known), 1, *known.shape[1:]) if time is None else (1, 1, *known.shape)
    latents = vae.encode(make_control_video(request).frames)
    return Known(latents, captured.reshape(shape), (known & ~captured).reshape(shape))


def _known(request: ClipRequest) -> tuple[Bool[Tensor, "frame h w"], Bool[Tensor, "frame h w"]]:
    """Pixels of keyframes, and all that are known."""
    captured = known_pixels(_without_renders(request).renders, request.keyframes)
    return captured, make_control_video(request).known


def _check_strengths(request: ClipRequest) -> None:
    """Nothing can be held more than wholly."""
    check_range("keyframe_strength", request.guidance.keyframes.strength, 0, 1)
    check_range("render_strength", request.guidance.renders.strength, 0, 1)


def _vace(models: HostModels, request: ClipRequest) -> Conditions:
    """Wan VACE: a control video with mid grey holes, and their mask."""
    from comfy_extras.nodes_wan import WanVaceToVideo

    strength = request.guidance.renders.strength
    video = make_control_video(request if strength > 0 else _without_renders(request))
    positive, negative, latent, _ = WanVaceToVideo.execute(
        models.positive,
        models.negative,
        models.vae,
        request.cameras.width,
        request.cameras.height,
        len(request.cameras),
        1,
        strength or 1.0,  # what is left without renders are photos
        control_video=video.frames,
        control_masks=(~video.known).float(),
    ).args
    return Conditions(
        model=models.model, positive=positive, negative=negative, samples=latent["samples"]
    )


def _masked(models: HostModels, request: ClipRequest) -> Conditions:
    """Wan image to video and inpainting: known pixels beside the latents, with a mask of them.

    The mask has a channel per frame of a latent; the first latent's one frame fills all four
    (`WanFirstLastFrameToVideo` does the same for whole frames).
    """
    _check_strengths(request)
    model, request = _with_renders(models, request)
    space = models.vae.spacial_compression_encode()
    captured, known = (
        known_latents(part, time_stride=1, space_stride=space) for part in _known(request)
    )
    guidance = request.guidance
    kept = torch.where(captured, guidance.keyframes.strength, guidance.renders.strength * known)
    made = 1 - torch.cat([kept[:1].expand(3, -1, -1), kept])
    latents = models.vae.encode(make_control_video(request).frames)
    return _with_values(
        replace(_empty(models, latents), model=model),
        concat_latent_image=latents,
        concat_mask=made.unflatten(0, (-1, 4)).transpose(0, 1)[None],
        **_seen(models, request),
    )


def _with_values(conditions: Conditions, **values: Any) -> Conditions:
    """Set values of both conditionings, as the host's nodes do."""
    from node_helpers import conditioning_set_values

    return replace(
        conditions,
        positive=conditioning_set_values(conditions.positive, values),
        negative=conditioning_set_values(conditions.negative, values),
    )


def _seen(models: HostModels, request: ClipRequest) -> dict[str, Any]:
    """What CLIP vision sees in the clip's first keyframe, where it is connected."""
    if models.clip_vision is None or not request.keyframes:
        return {}
    return {"clip_vision_output": models.clip_vision.encode_image(request.keyframes[0].image[None])}


def _first_last(models: HostModels, request: ClipRequest) -> Conditions:
    """Wan first-last frame: trained on two whole photos, so renders are blended instead."""
    from comfy_extras.nodes_wan import WanFirstLastFrameToVideo

    ends = {keyframe.index: keyframe.image[None] for keyframe in request.keyframes}
    start, end = ends.get(0), ends.get(len(request.cameras) - 1)
    vision = models.clip_vision
    positive, negative, latent = WanFirstLastFrameToVideo.execute(
        models.positive,
        models.negative,
        models.vae,
        request.cameras.width,
        request.cameras.height,
        len(request.cameras),
        1,
        start_image=start,
        end_image=end,
        clip_vision_start_image=vision and start is not None and vision.encode_image(start) or None,
        clip_vision_end_image=vision and end is not None and vision.encode_image(end) or None,
    ).args
    model, request = _with_renders(models, request)
    return Conditions(
        model=model,
        positive=positive,
        negative=negative,
        samples=latent["samples"],
        known=_encode_known(models.vae, request),
    )


WAN = "Apache-2.0"
FAMILIES = (
    Family(
        name="wan-vace",
        kind="WAN21_Vace",
        prepare=_vace,
        renders="native",
        dials=("render_strength",),
        max_frames=81,
        licence=WAN,
        memory="1.3B: 8 GB; 14B: 16 GB and more",
    ),
    Family(
        name="wan-flf2v",
        kind="WAN21",
        channels=36,
        mark="flf_pos_embed_token_number",
        prepare=_first_last,
        keyframes="first_last",
        needs_first=True,
        dials=("render_strength", "render_share"),
        max_frames=81,
        licence=WAN,
        memory="14B: 16 GB and more",
    ),
    Family(
        name="wan-i2v",
        kind="WAN21",
        channels=36,
        prepare=_masked,
        needs_first=True,
        renders="native",
        dials=("keyframe_strength", "render_strength"),
        max_frames=81,
        licence=WAN,
        memory="Fun-InP 1.3B: 8 GB; 14B: 16 GB and more",
    ),
    Family(
        name="wan-t2v",
        kind="WAN21",
        channels=16,
        prepare=_held,
        max_frames=81,
        licence=WAN,
        memory="1.3B: 8 GB; 14B: 16 GB and more",
    ),
)
