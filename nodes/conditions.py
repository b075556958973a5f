"""What the host's sampler is given for one clip, and the ways that model families share.

Conditions are made by the host's own nodes wherever one does just that, and else by setting the
values that those nodes set.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..reconx.checks import check_range
from ..reconx.video.base import ClipRequest
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
    low_noise_model: Any = None
    """Takes over from `model` once little noise is left: Wan 2.2 A14B has two experts."""


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


def drop_unasked(request: ClipRequest) -> ClipRequest:
    """The same clip without conditions whose strength is 0: not even a VAE mixes them in."""
    if request.guidance.renders.strength == 0:
        request = without_renders(request)
    if request.guidance.keyframes.strength == 0:
        request = replace(request, keyframes=())
    return request


def hold_known(models: HostModels, request: ClipRequest) -> Conditions:
    """Text alone guides the model: photos and renders are blended into its latents."""
    model, request = give_renders(models, request)
    known = encode_known(models.vae, request)
    return replace(from_text(models, known.latents), model=model, known=known)


def from_text(models: HostModels, latents: Tensor) -> Conditions:
    """Latents like these, made from text alone."""
    return Conditions(
        model=models.model,
        positive=models.positive,
        negative=models.negative,
        samples=torch.zeros_like(latents),
    )


def give_renders(models: HostModels, request: ClipRequest) -> tuple[Any, ClipRequest]:
    """The model, and what is left to tell it: a Uni3C control net takes the renders."""
    strength = request.guidance.renders.strength
    if models.model_patch is None or strength == 0:
        return models.model, request
    from comfy_extras.nodes_model_patch import WanUni3CControlnetApply

    (model,) = WanUni3CControlnetApply().apply_patch(
        models.model, models.model_patch, models.vae, request.renders.colour, strength, 0.0, 1.0
    )
    return model, without_renders(request)


def without_renders(request: ClipRequest) -> ClipRequest:
    """The same clip, of which only keyframes are known."""
    hole = torch.ones_like(request.renders.hole)
    return replace(request, renders=replace(request.renders, hole=hole))


def encode_known(vae: Any, request: ClipRequest) -> Known:
    """What is known of a clip, as latents."""
    check_strengths(request)
    time, space = vae.temporal_compression_decode(), vae.spacial_compression_encode()
    captured, known = (
        known_latents(part, time_stride=time or 1, space_stride=space)
        for part in known_parts(request)
    )
    # Without compression in time the frames are a batch of pictures.
    shape = (len(known), 1, *known.shape[1:]) if time is None else (1, 1, *known.shape)
    latents = vae.encode(make_control_video(request).frames)
    return Known(latents, captured.reshape(shape), (known & ~captured).reshape(shape))


def known_parts(
    request: ClipRequest,
) -> tuple[Bool[Tensor, "frame h w"], Bool[Tensor, "frame h w"]]:
    """Pixels of keyframes, and all that are known."""
    captured = known_pixels(without_renders(request).renders, request.keyframes)
    return captured, make_control_video(request).known


def check_strengths(request: ClipRequest) -> None:
    """Nothing can be held more than wholly."""
    check_range("keyframe_strength", request.guidance.keyframes.strength, 0, 1)
    check_range("render_strength", request.guidance.renders.strength, 0, 1)


def with_values(conditions: Conditions, **values: Any) -> Conditions:
    """Set values of both conditionings, as the host's nodes do."""
    from node_helpers import conditioning_set_values

    return replace(
        conditions,
        positive=conditioning_set_values(conditions.positive, values),
        negative=conditioning_set_values(conditions.negative, values),
    )


def seen_by_clip(models: HostModels, request: ClipRequest) -> dict[str, Any]:
    """What CLIP vision sees in the clip's first keyframe, where it is connected."""
    if models.clip_vision is None or not request.keyframes:
        return {}
    return {"clip_vision_output": models.clip_vision.encode_image(request.keyframes[0].image[None])}


def take_frames(models: HostModels, request: ClipRequest) -> Conditions:
    """Latent frames that are all keyframe are taken as they are; what else is known is blended in.

    For models with a noise level per latent frame: Wan 2.2 TI2V, Cosmos image to video. A latent
    frame that is known in part would get a level in between, which none was trained on.
    """
    model, request = give_renders(models, request)
    known = encode_known(models.vae, request)
    whole = known.captured.flatten(-2).all(-1)[..., None, None]
    return replace(
        from_text(models, known.latents),
        model=model,
        samples=known.latents * whole,
        noise_mask=1 - request.guidance.keyframes.strength * whole.float(),
        known=known._replace(captured=known.captured & ~whole),
    )
