"""How far rendered depth is from what was measured."""

import torch
from jaxtyping import Float
from torch import Tensor


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
