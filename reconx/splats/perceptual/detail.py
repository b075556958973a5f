"""What compares detail without any weights: pictures at several sizes."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ...ops.image import luminance
from ...ops.metrics import ssim_map

SCALES = 3
"""Sizes: whole, half, quarter."""


def gradient_distance(
    image: Float[Tensor, "height width 3"], target: Float[Tensor, "height width 3"]
) -> Float[Tensor, ""]:
    """Mean absolute difference of brightness steps between neighbours, over all sizes."""
    planes = luminance(image - target)[None, None]
    total = image.new_zeros(())
    for scale in range(SCALES):
        if scale:
            planes = functional.avg_pool2d(planes, 2)
        total = total + planes.diff(dim=-1).abs().mean() + planes.diff(dim=-2).abs().mean()
    return total / SCALES


def structure_distance(
    image: Float[Tensor, "height width 3"], target: Float[Tensor, "height width 3"]
) -> Float[Tensor, ""]:
    """Mean of 1 - SSIM of brightness over all sizes (after MS-SSIM, Wang et al. 2003).

    A mean and no product: a product's slope vanishes where one size is met badly.
    """
    planes = torch.stack([luminance(image), luminance(target)])[:, None]
    total = image.new_zeros(())
    for scale in range(SCALES):
        if scale:
            planes = functional.avg_pool2d(planes, 2)
        first, second = planes.permute(0, 2, 3, 1).split(1)
        total = total + 1 - ssim_map(first, second).mean()
    return total / SCALES
