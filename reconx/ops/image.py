"""Pictures and their masks: resampling, morphology."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

LUMINANCE = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in Rec. 601 grey."""


def luminance(image: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Rec. 601 grey of an RGB picture."""
    return image @ torch.tensor(LUMINANCE, dtype=image.dtype, device=image.device)


def resize_images(
    images: Float[Tensor, "view height width channel"], width: int, height: int
) -> Float[Tensor, "view h w channel"]:
    """Resample with an antialiasing filter, so that shrinking does not flicker between views."""
    planes = functional.interpolate(
        images.permute(0, 3, 1, 2),
        size=(height, width),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
    return planes.permute(0, 2, 3, 1).contiguous()


def resize_masks(
    masks: Bool[Tensor, "view height width"], width: int, height: int
) -> Bool[Tensor, "view h w"]:
    """Resample; a pixel stays true only where all that it covers is true."""
    return resize_images(masks[..., None].float(), width, height)[..., 0] > 0.999


def local_maximum(
    images: Float[Tensor, "view height width"], radius: int
) -> Float[Tensor, "view height width"]:
    """The largest value in a square of side 2 radius + 1 around each pixel."""
    # Down, then across: the whole square at once takes longer, the more the wider it is.
    images = functional.max_pool2d(images, (2 * radius + 1, 1), stride=1, padding=(radius, 0))
    return functional.max_pool2d(images, (1, 2 * radius + 1), stride=1, padding=(0, radius))


def dilate(
    masks: Bool[Tensor, "view height width"], radius: int
) -> Bool[Tensor, "view height width"]:
    """Grow the true pixels by a square of side 2 radius + 1."""
    if radius == 0:
        return masks
    return local_maximum(masks.float(), radius) > 0


def erode(
    masks: Bool[Tensor, "view height width"], radius: int
) -> Bool[Tensor, "view height width"]:
    """Shrink the true pixels by a square of side 2 radius + 1; the border does not erode."""
    return ~dilate(~masks, radius)


def close_gaps(
    masks: Bool[Tensor, "view height width"], radius: int
) -> Bool[Tensor, "view height width"]:
    """Fill false gaps at most 2 radius wide (morphological closing)."""
    return erode(dilate(masks, radius), radius)
