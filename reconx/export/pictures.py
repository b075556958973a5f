"""Pictures as files, and the part of a padded photo that is the photo."""

import math
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..types import Photos
from .atomic import replacing

JPEG_QUALITY = 95


def write_picture(path: str | Path, image: Float[Tensor, "height width channel"]) -> None:
    """Write a picture of 1 or 3 channels in [0, 1]; the suffix gives the format."""
    with replacing(path) as temporary:
        to_pil(image).save(temporary, quality=JPEG_QUALITY)


def to_pil(image: Float[Tensor, "height width channel"]) -> Image.Image:
    """A picture of 1 or 3 channels as 8 bit; what a render has beyond [0, 1] is clipped."""
    return Image.fromarray((image.clamp(0, 1) * 255).round().byte().squeeze(-1).numpy())


def photo_rectangle(photos: Photos, index: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels that lie wholly inside a photo, padding cut off."""
    width, height = photos.original_sizes[index]
    corners = torch.tensor([[0.0, 0.0, 1.0], [width, height, 1.0]], dtype=torch.float64).mT
    left_top, right_bottom = torch.linalg.solve(photos.to_original[index].double(), corners).mT
    rounding = 1e-3  # to_original is float32: a photo that ends at 511.9998 ends at 512
    return (
        max(0, math.ceil(float(left_top[0]) - rounding)),
        max(0, math.ceil(float(left_top[1]) - rounding)),
        min(photos.width, math.floor(float(right_bottom[0]) + rounding)),
        min(photos.height, math.floor(float(right_bottom[1]) + rounding)),
    )
