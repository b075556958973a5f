"""The photometric loss in one compiled kernel that gives the gradient with the value.

Torch takes a hundred operations for the same, and four times as long on one thread. One thread here
too: more would save a millisecond or two, and take three times as long to compile.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...compilation import f4, inlined, serial
from ...ops.image import LUMINANCE
from ...ops.metrics import SSIM_CONTRAST, SSIM_LIGHT, ssim_window

GREY = tuple(map(f4, LUMINANCE))
REACH = 5
"""Of SSIM's window to either side."""


def compare_pictures(
    image: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    weights: Float[Tensor, "height width"],
    ssim_share: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "height width 3"]]:
    """Value and gradient of `photometric_loss`; float32 on the CPU."""
    pictures = (part.detach().contiguous().numpy() for part in (image, target, weights))
    window = ssim_window(torch.float32).numpy()
    sums, gradient = compare_rows(*pictures, window, f4(ssim_share))
    return image.new_tensor(sums.sum() / weights.numel()), torch.from_numpy(gradient)


@inlined
def _grey(picture, row, x):
    return (
        GREY[0] * picture[row, x, 0] + GREY[1] * picture[row, x, 1] + GREY[2] * picture[row, x, 2]
    )


@serial
def _blur_line(line, window, out):
    """Blur one line, given with REACH zeros at either end."""
    for x in range(len(out)):
        out[x] = window[0] * line[x]
    for tap in range(1, 2 * REACH + 1):
        share = window[tap]
        for x in range(len(out)):
            out[x] += share * line[x + tap]


@serial
def _blur_down(lines, row, window, out):
    """Blur down to one row; lines are (row, map, column), and zero outside."""
    out[:] = 0
    for other in range(max(0, row - REACH), min(len(lines), row + REACH + 1)):
        share = window[other - row + REACH]
        for m in range(out.shape[0]):
            for x in range(out.shape[1]):
                out[m, x] += share * lines[other, m, x]


@serial
def _moments(image, target, weights, window, row, greys, across):
    """Fill a row's greys, and their means, squares and product, blurred along the row."""
    width = weights.shape[1]
    lines = np.zeros((5, width + 2 * REACH), f4)
    for x in range(width):
        a = _grey(image, row, x)
        b = _grey(target, row, x) if weights[row, x] > 0 else a
        greys[row, 0, x], greys[row, 1, x] = a, b
        lines[0, x + REACH], lines[1, x + REACH] = a, b
        lines[2, x + REACH], lines[3, x + REACH] = a * a, b * b
        lines[4, x + REACH] = a * b
    for m in range(5):
        _blur_line(lines[m], window, across[row, m])


@serial
def _dissimilarity(across, weights, window, row, share, pulls):
    """A row's weighted sum of 1 - SSIM; fills its gradient by mean, square and product.

    The gradient of a blurred map is blurred by the same window, which is symmetric: along the row
    here, down in `_gradient`.
    """
    height, width = weights.shape
    maps = np.empty((5, width), f4)
    _blur_down(across, row, window, maps)
    lines = np.zeros((3, width + 2 * REACH), f4)
    total = f4(0)
    for x in range(width):
        a, b = maps[0, x], maps[1, x]
        light = f4(2) * a * b + f4(SSIM_LIGHT)
        lights = a * a + b * b + f4(SSIM_LIGHT)
        contrast = f4(2) * (maps[4, x] - a * b) + f4(SSIM_CONTRAST)
        contrasts = (maps[2, x] - a * a) + (maps[3, x] - b * b) + f4(SSIM_CONTRAST)
        scale = f4(1) / (lights * contrasts)
        similarity = light * contrast * scale
        weight = weights[row, x] * share
        total += weight * (f4(1) - similarity)
        pull = -weight / f4(height * width)
        by_square = -similarity / contrasts
        by_product = f4(2) * light * scale
        by_mean = f4(2) * (b * contrast * scale - a * similarity / lights - a * by_square)
        lines[0, x + REACH] = pull * (by_mean - b * by_product)
        lines[1, x + REACH] = pull * by_square
        lines[2, x + REACH] = pull * by_product
    for m in range(3):
        _blur_line(lines[m], window, pulls[row, m])
    return total


@serial
def _gradient(image, target, weights, window, row, greys, pulls, share, gradient):
    """A row's weighted sum of absolute errors; fills its gradient of the whole loss."""
    height, width = weights.shape
    maps = np.empty((3, width), f4)
    _blur_down(pulls, row, window, maps)
    total = f4(0)
    for x in range(width):
        pull = maps[0, x] + f4(2) * greys[row, 0, x] * maps[1, x] + greys[row, 1, x] * maps[2, x]
        weight = weights[row, x] * share / f4(3)
        for c in range(3):
            error = image[row, x, c] - target[row, x, c]
            total += weight * abs(error)
            gradient[row, x, c] = weight / f4(height * width) * np.sign(error) + GREY[c] * pull
    return total


@serial
def compare_rows(image, target, weights, window, ssim_share):
    """Each row's sum of the weighted loss, and the gradient of the mean over all pixels."""
    height, width = weights.shape
    greys, across = np.empty((height, 2, width), f4), np.empty((height, 5, width), f4)
    pulls, gradient = np.empty((height, 3, width), f4), np.empty((height, width, 3), f4)
    sums = np.empty(height, np.float64)
    for row in range(height):
        _moments(image, target, weights, window, row, greys, across)
    for row in range(height):
        sums[row] = _dissimilarity(across, weights, window, row, ssim_share, pulls)
    for row in range(height):
        sums[row] += _gradient(
            image, target, weights, window, row, greys, pulls, f4(1) - ssim_share, gradient
        )
    return sums, gradient
