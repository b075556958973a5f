"""Masks over photos that are loaded already. Masks in files belong to `loading`."""

from dataclasses import replace

from jaxtyping import Bool
from torch import Tensor

from ..checks import check_shape
from ..errors import InputError
from ..ops.image import resize_masks
from ..types import Photos


def mask_photos(photos: Photos, masks: Bool[Tensor, "mask h w"]) -> Photos:
    """Leave what is masked out of all later stages.

    Args:
        photos: As loaded.
        masks: True is used. One per photo, or one for all, of any size that has the shape of
            `photos.images`, padding included.

    Raises:
        InputError: If number or shape differ, or a photo keeps no pixel.
    """
    check_shape("Masks", masks, None, None, None)
    if len(masks) not in (1, len(photos)):
        raise InputError(
            f"{len(masks)} masks were given for {len(photos)} photos; expected one per photo, or "
            "one for all."
        )
    height, width = masks.shape[1:]
    # One pixel of rounding on the shorter side is no other shape.
    if abs(width * photos.height - height * photos.width) > max(photos.width, photos.height):
        raise InputError(
            f"The masks are {width} x {height} pixels and the photos {photos.width} x "
            f"{photos.height}; expected the same shape. Make masks from the pictures that the "
            "photos came from."
        )
    if (width, height) != (photos.width, photos.height):
        masks = resize_masks(masks, photos.width, photos.height)
    valid = photos.valid & masks
    for name, kept in zip(photos.names, valid, strict=True):
        if not kept.any():
            raise InputError(
                f"The mask of photo {name} leaves no pixel of it (white is used, black left out). "
                "Invert the mask, or leave the photo out."
            )
    return replace(photos, valid=valid)
