"""What compares detail without any weights: brightness steps at several sizes."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ...ops.image import luminance

SCALES = 3
"""Sizes: whole, half, quarter."""


def gradient_distance(
    image: Float[Tensor, "height width 3"], target: Float[Tensor, "height width 3"]
) -> Float[Tensor, ""]:
    """Mean absolute difference of brightness steps between neighbours, over all sizes.

    SSIM at the same sizes was tried in its place: it met unseen views worse and took longer.
    """
    planes = luminance(image - target)[None, None]
    total = image.new_zeros(())
    for scale in range(SCALES):
        if scale:
            planes = functional.avg_pool2d(planes, 2)
        total = total + planes.diff(dim=-1).abs().mean() + planes.diff(dim=-2).abs().mean()
    return total / SCALES
