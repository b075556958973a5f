"""How clips' conditions reach LTX Video: a noise level per latent, and guides beside them."""

from dataclasses import replace

from ..reconx.video.base import ClipRequest
from .conditions import Conditions, HostModels, encode_known, from_text


def prepare_ltx(models: HostModels, request: ClipRequest) -> Conditions:
    """Known latents are taken as they are; photos within a latent frame become guides.

    A latent frame spans eight frames, so a photo in its midst fills none.
    """
    from comfy_extras.nodes_lt import LTXVAddGuide, LTXVCropGuides

    known, guidance = encode_known(models.vae, request), request.guidance
    kept = guidance.keyframes.strength * known.captured + guidance.renders.strength * known.rendered
    positive, negative = models.positive, models.negative
    latent = {"samples": known.latents * (kept > 0), "noise_mask": 1 - kept}
    for keyframe in request.keyframes:
        if keyframe.index == 0:
            continue  # a latent frame of its own
        positive, negative, latent = LTXVAddGuide.execute(
            positive,
            negative,
            models.vae,
            latent,
            keyframe.image[None],
            keyframe.index,
            guidance.keyframes.strength,
        ).args
    return replace(
        from_text(models, known.latents),
        positive=positive,
        negative=negative,
        samples=latent["samples"],
        noise_mask=latent["noise_mask"],
        finish=lambda made: LTXVCropGuides.execute(
            positive, negative, latent | {"samples": made}
        ).args[2]["samples"],
    )
