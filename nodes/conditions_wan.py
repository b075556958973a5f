"""How clips' conditions reach the Wan models of the host."""

from dataclasses import replace

import torch

from ..reconx.video.base import ClipRequest
from ..reconx.video.conditions import make_control_video
from ..reconx.video.latents import known_latents
from .conditions import (
    Conditions,
    HostModels,
    check_strengths,
    encode_known,
    from_text,
    give_renders,
    known_parts,
    seen_by_clip,
    with_values,
)


def prepare_vace(models: HostModels, request: ClipRequest) -> Conditions:
    """Wan VACE: a control video with mid grey holes, and their mask."""
    from comfy_extras.nodes_wan import WanVaceToVideo

    video = make_control_video(request)
    positive, negative, latent, _ = WanVaceToVideo.execute(
        models.positive,
        models.negative,
        models.vae,
        request.cameras.width,
        request.cameras.height,
        len(request.cameras),
        1,
        request.guidance.renders.strength or 1.0,  # without renders photos are left
        control_video=video.frames,
        control_masks=(~video.known).float(),
    ).args
    return Conditions(
        model=models.model, positive=positive, negative=negative, samples=latent["samples"]
    )


def prepare_masked(models: HostModels, request: ClipRequest) -> Conditions:
    """Wan image to video and inpainting: known pixels beside the latents, with a mask of them.

    The mask has a channel per frame of a latent; the first latent's one frame fills all four
    (`WanFirstLastFrameToVideo` does the same for whole frames).
    """
    check_strengths(request)
    model, request = give_renders(models, request)
    space = models.vae.spacial_compression_encode()
    captured, known = (
        known_latents(part, time_stride=1, space_stride=space) for part in known_parts(request)
    )
    guidance = request.guidance
    kept = torch.where(captured, guidance.keyframes.strength, guidance.renders.strength * known)
    made = 1 - torch.cat([kept[:1].expand(3, -1, -1), kept])
    latents = models.vae.encode(make_control_video(request).frames)
    return with_values(
        replace(from_text(models, latents), model=model),
        concat_latent_image=latents,
        concat_mask=made.unflatten(0, (-1, 4)).transpose(0, 1)[None],
        **seen_by_clip(models, request),
    )


def prepare_first_last(models: HostModels, request: ClipRequest) -> Conditions:
    """Wan first-last frame: trained on two whole photos, so renders are blended instead."""
    from comfy_extras.nodes_wan import WanFirstLastFrameToVideo

    ends = {keyframe.index: keyframe.image[None] for keyframe in request.keyframes}
    start, end = ends.get(0), ends.get(len(request.cameras) - 1)
    see = models.clip_vision.encode_image if models.clip_vision else lambda image: None
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
        clip_vision_start_image=None if start is None else see(start),
        clip_vision_end_image=None if end is None else see(end),
    ).args
    model, request = give_renders(models, request)
    return Conditions(
        model=model,
        positive=positive,
        negative=negative,
        samples=latent["samples"],
        known=encode_known(models.vae, request),
    )
