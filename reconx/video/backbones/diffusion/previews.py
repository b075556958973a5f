"""Pictures of latents while they are denoised, at none of a decoder's cost."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


class KnownPictures(NamedTuple):
    """Pictures that the VAE has encoded for a clip, in both worlds."""

    latents: Float[Tensor, "channel latent_frame h w"]
    """As the denoiser takes them, without noise."""
    frames: Float[Tensor, "frame height width 3"]
    """In [0, 1]."""


def picture_latents(
    latents: Float[Tensor, "channel latent_frame h w"], known: KnownPictures
) -> Float[Tensor, "h w 3"]:
    """The middle of a clip, as far as it is denoised.

    Colours are nearly linear in the latents of a pixel. The map that fits what the VAE made of the
    clip's known pictures best is found anew each time: that takes less than a step, is right for
    every VAE, and asks for no table of published factors.

    Args:
        latents: Those shown, at any noise level.
        known: Of the same clip.
    """
    _, count, height, width = known.latents.shape
    # Each latent frame ends at one of the pictures, the first and the last at theirs.
    rows = torch.linspace(0, len(known.frames) - 1, count).round().long()
    frames = known.frames[rows].float().cpu().permute(0, 3, 1, 2)
    colours = functional.adaptive_avg_pool2d(frames, (height, width)).permute(0, 2, 3, 1)
    # The smallest solution, where colours alone do not tell all weights.
    weights = torch.linalg.lstsq(
        _with_one(known.latents), colours.reshape(-1, 3), driver="gelsd"
    ).solution
    middle = _with_one(latents[:, latents.shape[1] // 2 :][:, :1])
    return (middle @ weights).reshape(height, width, 3).clamp(0, 1)


def _with_one(
    latents: Float[Tensor, "channel frame h w"],
) -> Float[Tensor, "sample weight"]:
    """A row per latent, and a constant beside its channels."""
    values = latents.detach().flatten(1).T.float().cpu()
    return torch.cat([values, torch.ones_like(values[:, :1])], dim=1)
