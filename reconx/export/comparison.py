"""Two series of pictures side by side, with what sets them apart."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_range, check_shape
from ..errors import InputError
from ..ops.metrics import psnr, ssim
from ..progress import Progress, SilentProgress
from .colour_maps import GLOW, apply_colour_map

BRIGHTEST = 0.25
"""Difference of an 8-bit picture's range that gets the brightest colour. Fixed, so that two
comparisons can be compared."""
GAP = 8
"""Pixels between two pictures."""


class Comparison(NamedTuple):
    """How alike two series of pictures are."""

    psnr: float
    """dB over all pixels of all pictures together."""
    ssim: float
    """Mean over all pixels."""
    pictures: Float[Tensor, "picture height total_width 3"]
    """First, second and difference: dark where they agree, bright from a quarter of the range."""


def compare_pictures(
    first: Float[Tensor, "picture height width 3"],
    second: Float[Tensor, "picture_2 height_2 width_2 3"],
    *,
    progress: Progress | None = None,
) -> Comparison:
    """Measure how alike pictures are, pair by pair, and draw each pair.

    Args:
        first: In [0, 1]; what lies beyond is clipped.
        second: As many, as large.
        progress: Told after every pair; may raise to stop.

    Raises:
        InputError: If counts or sizes differ, or there is no picture.
    """
    check_shape("First pictures", first, None, None, None, 3)
    check_range("Number of pictures", len(first), 1)
    if first.shape != second.shape:
        raise InputError(
            f"The first pictures are {_described(first)}, the second {_described(second)}; "
            "expected one count and one size. Resize one side, or render both along one path."
        )
    gap = first.new_zeros(first.shape[1], GAP, 3)
    drawn, similarity = [], 0.0
    task = (progress or SilentProgress()).start("Comparing pictures", len(first))
    for one, other in zip(first.clamp(0, 1), second.clamp(0, 1), strict=True):
        difference = apply_colour_map((one - other).abs().mean(dim=-1) / BRIGHTEST, GLOW)
        drawn.append(torch.cat([one, gap, other, gap, difference], dim=1))
        # One by one: the windows of a whole film at once would fill the memory.
        similarity += ssim(one[None], other[None]) / len(first)
        task.update(len(drawn))
    quality = psnr(first.clamp(0, 1), second.clamp(0, 1))
    return Comparison(psnr=quality, ssim=similarity, pictures=torch.stack(drawn))


def _described(pictures: Tensor) -> str:
    count, height, width = pictures.shape[:3]
    return f"{count} of {width} x {height}"
