"""How clips' conditions reach models that were trained to go on from a first picture.

The first keyframe goes where they take it; all else that is known is blended into their latents.
"""

from dataclasses import replace

from torch import Tensor

from ..reconx.video.base import ClipRequest
from .conditions import Conditions, HostModels, encode_known, hold_known, seen_by_clip, with_values


def prepare_hunyuan_i2v(models: HostModels, request: ClipRequest) -> Conditions:
    """HunyuanVideo image to video, the weights that take the picture beside the latents."""
    from comfy_extras.nodes_hunyuan import HunyuanImageToVideo

    positive, _ = HunyuanImageToVideo.execute(
        models.positive,
        models.vae,
        *_shape(request),
        guidance_type="v1 (concat)",
        start_image=_first(request),
    ).args
    return replace(hold_known(models, request), positive=positive)


def prepare_hunyuan15(models: HostModels, request: ClipRequest) -> Conditions:
    """HunyuanVideo 1.5: one network for text and image to video."""
    from comfy_extras.nodes_hunyuan import HunyuanVideo15ImageToVideo

    positive, negative, _ = HunyuanVideo15ImageToVideo.execute(
        models.positive,
        models.negative,
        models.vae,
        *_shape(request),
        start_image=_first(request),
        **seen_by_clip(models, request),
    ).args
    return replace(hold_known(models, request), positive=positive, negative=negative)


def prepare_cogvideox_i2v(models: HostModels, request: ClipRequest) -> Conditions:
    """CogVideoX image to video; the host has no node for it, but fills up what the value lacks."""
    first = models.vae.encode(_first(request))
    return with_values(hold_known(models, request), concat_latent_image=first)


def prepare_svd(models: HostModels, request: ClipRequest) -> Conditions:
    """Stable Video Diffusion: CLIP vision takes the place of a prompt."""
    from comfy_extras.nodes_video_model import SVD_img2vid_Conditioning

    width, height, frames, _ = _shape(request)
    positive, negative, latent = SVD_img2vid_Conditioning().encode(
        models.clip_vision,
        _first(request),
        models.vae,
        width,
        height,
        frames,
        motion_bucket_id=127,
        fps=6,
        augmentation_level=0.0,
    )
    return Conditions(
        model=models.model,
        positive=positive,
        negative=negative,
        samples=latent["samples"],
        known=encode_known(models.vae, request),
    )


def _shape(request: ClipRequest) -> tuple[int, int, int, int]:
    """Width, height, frames and batch size, in the order of the host's nodes."""
    cameras = request.cameras
    return cameras.width, cameras.height, len(cameras), 1


def _first(request: ClipRequest) -> Tensor | None:
    """The first frame as IMAGE; None where it is to be made."""
    first = [keyframe for keyframe in request.keyframes if keyframe.index == 0]
    return first[0].image[None] if first else None
