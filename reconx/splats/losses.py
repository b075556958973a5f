"""What the fit minimises: pixel losses that respect weights, and regularisers of shape."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..ops.image import luminance
from ..ops.metrics import ssim_map

SSIM_SHARE = 0.2
"""Share of structural similarity in the photometric loss (3D Gaussian Splatting, eq. 7)."""


def photometric_loss(
    image: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    weights: Float[Tensor, "height width"],
) -> Float[Tensor, ""]:
    """Mean over all pixels of `weight * (0.8 L1 + 0.2 (1 - SSIM))` (ReconX, eq. 14).

    A pixel of weight 0 has no influence at all: in its place the neighbours' SSIM windows see what
    was rendered, not the target. The mean runs over all pixels, so that a frame counts as much as
    it is trusted and a frame of holes counts nothing. SSIM compares luminance, as it was defined
    (Wang et al. 2004): per channel it would cost three times as much.
    """
    target = torch.where(weights[..., None] > 0, target, image.detach())
    absolute = (image - target).abs().mean(dim=-1)
    grey, target_grey = luminance(image)[None, ..., None], luminance(target)[None, ..., None]
    dissimilarity = 1 - ssim_map(grey, target_grey)[0]
    return (weights * ((1 - SSIM_SHARE) * absolute + SSIM_SHARE * dissimilarity)).mean()


def depth_loss(
    depth: Float[Tensor, "height width"], measured: Float[Tensor, "height width"]
) -> Float[Tensor, ""]:
    """Mean relative error of rendered z-depth over the pixels with a measured one.

    Relative, since stereo is about as wrong as it is far; absolute value, since some of what was
    measured is plainly wrong.

    Args:
        depth: Rendered.
        measured: 0 where nothing was measured. Not all may be 0.
    """
    there = measured > 0
    # Selecting pixels would cost several times as much, on the way back above all.
    error = (depth / torch.where(there, measured, 1.0) - 1).abs()
    return (error * there).sum() / there.sum()
