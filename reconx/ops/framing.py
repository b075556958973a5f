"""Showing a picture at a size of another shape: crop about the centre, then resample.

Cameras and pictures go through the same window, so K stays true to the pixel.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..types import Cameras
from .image import resize_images, resize_masks


def centre_window(width: int, height: int, to_width: int, to_height: int) -> tuple[slice, slice]:
    """Rows and columns of the largest centred window shaped like `to_width` x `to_height`.

    Whole pixels: the shape is met to within half a pixel.
    """
    columns = min(width, max(1, round(height * to_width / to_height)))
    rows = min(height, max(1, round(width * to_height / to_width)))
    left, top = (width - columns) // 2, (height - rows) // 2
    return slice(top, top + rows), slice(left, left + columns)


def reframe_cameras(cameras: Cameras, width: int, height: int) -> Cameras:
    """Cameras of the pictures that `reframe_images` makes."""
    rows, columns = centre_window(cameras.width, cameras.height, width, height)
    corner = torch.zeros(3, 3, dtype=cameras.K.dtype)
    corner[0, 2], corner[1, 2] = columns.start, rows.start
    cropped = replace(
        cameras,
        K=cameras.K - corner,
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
    )
    return cropped.resized(width, height)


def reframe_images(
    images: Float[Tensor, "view height width channel"], width: int, height: int
) -> Float[Tensor, "view h w channel"]:
    """Crop about the centre to the new shape, then resample; the same size changes nothing."""
    rows, columns = centre_window(images.shape[2], images.shape[1], width, height)
    images = images[:, rows, columns]
    if images.shape[1:3] == (height, width):
        return images
    return resize_images(images, width, height)


def reframe_masks(
    masks: Bool[Tensor, "view height width"], width: int, height: int
) -> Bool[Tensor, "view h w"]:
    """Crop like `reframe_images`; a pixel stays true only where all that it covers is true."""
    rows, columns = centre_window(masks.shape[2], masks.shape[1], width, height)
    masks = masks[:, rows, columns]
    if masks.shape[1:] == (height, width):
        return masks
    return resize_masks(masks, width, height)
