"""Photos of mixed sizes to one `Photos`: one common size, and what is known of the cameras."""

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..checks import check_range, check_shape
from ..errors import InputError
from ..ops.image import resize_images, resize_masks
from ..ops.photos import fit_size
from ..types import CameraPrior, Photos
from .decoding import Picture, decode_mask, decode_photo
from .exif import FILM_WIDTH_MM, FOCAL_35MM_RANGE
from .sources import find_masks, list_photos, unique_names

logger = logging.getLogger("reconx")

EXIF_FOCAL_SIGMA = 0.05
"""Relative standard deviation of focal lengths from EXIF: rounded, and before stabilisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoOptions:
    """How photos are loaded, and what the user knows of them."""

    max_size: int = 1600
    """Long side in pixels to which larger photos are shrunk; smaller ones stay as they are."""
    focal_px: float | None = None
    """Focal length of all photos in pixels of the originals, if known."""
    fov_degrees: float | None = None
    """Horizontal field of view of every upright photo, if known; not together with `focal_px`."""
    masks: str | Path | Sequence[str | Path] | None = None
    """A folder or files with masks: white is used, black left out. A mask is named like its photo
    (IMG_1.png or IMG_1.jpg.png for IMG_1.jpg) and has its shape; a photo without one is used
    whole."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range("Photo option max_size", self.max_size, 16)
        if self.focal_px is not None and self.fov_degrees is not None:
            raise InputError(
                f"Both focal_px ({self.focal_px:g}) and fov_degrees ({self.fov_degrees:g}) are "
                "given; expected one of them."
            )
        if self.fov_degrees is not None:
            check_range("Photo option fov_degrees", self.fov_degrees, 1, 179)


def load_photos(sources: Sequence[str | Path], *, options: PhotoOptions | None = None) -> Photos:
    """Load two or more photos from files and folders.

    Photos are turned upright, converted to sRGB, shrunk one by one until their long side is at most
    `options.max_size`, and padded at the right and the bottom to one common size. None is enlarged:
    a photo that is much smaller than the others keeps its pixels, which one log line mentions.

    The prior holds each photo's K: the centre of the original as principal point, and the focal
    length from the options (sigma 0), from EXIF (sigma 0.05), or NaN (sigma NaN) where unknown.

    Args:
        sources: Files and folders; a folder gives its pictures in natural order (2 before 10).
        options: See `PhotoOptions`.

    Returns:
        The photos in the order given. Names are file names; those that repeat are led by their
        folder's name and an underscore.

    Raises:
        InputError: If there are fewer than two photos, one is given twice, or a file or option
            cannot be used.
    """
    options = options or PhotoOptions()
    if isinstance(sources, str | Path):
        sources = [sources]
    paths = list_photos(sources)
    _check_count(len(paths))
    names = unique_names(paths)
    masks = find_masks(options.masks, names) if options.masks is not None else [None] * len(paths)
    pictures = []
    for path, name, mask in zip(paths, names, masks, strict=True):
        picture = decode_photo(path, name, options.max_size)
        if mask is not None:
            picture = replace(picture, valid=picture.valid & decode_mask(mask, picture))
        pictures.append(picture)
    return assemble_photos(pictures, options)


def photos_from_images(
    images: Tensor | Sequence[Float[Tensor, "_ _ 3"]],
    *,
    masks: Tensor | Sequence[Bool[Tensor, "_ _"]] | None = None,
    names: Sequence[str] | None = None,
    options: PhotoOptions | None = None,
) -> Photos:
    """Make photos of pictures that are already in memory, as `load_photos` does of files.

    Args:
        images: A batch, or pictures of different sizes; sRGB in [0, 1].
        masks: One per picture and of its size; true is used.
        names: Unique; "photo-1" and so on by default.
        options: As for files; its `masks` must be None.

    Raises:
        InputError: If there are fewer than two pictures, two are the same, or a value cannot be
            used.
    """
    options = options or PhotoOptions()
    if options.masks is not None:
        raise InputError("PhotoOptions.masks names files; give pictures in memory `masks` instead.")
    _check_count(len(images))
    if names is None:
        names = [f"photo-{index + 1}" for index in range(len(images))]
    if len(names) != len(images) or (masks is not None and len(masks) != len(images)):
        raise InputError(
            f"{len(images)} pictures came with {len(names)} names and "
            f"{'no' if masks is None else len(masks)} masks; expected one of each per picture."
        )
    pictures = [
        shrink_picture(name, image, None if masks is None else masks[index], options.max_size)
        for index, (name, image) in enumerate(zip(names, images, strict=True))
    ]
    return assemble_photos(pictures, options)


def _check_count(count: int) -> None:
    if count < 2:
        found = "No photo was" if count == 0 else "Only one photo was"
        raise InputError(
            f"{found} given; expected at least two of the same place, taken from different spots."
        )


def shrink_picture(
    name: str,
    image: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"] | None,
    max_size: int,
) -> Picture:
    """A picture in memory as `decode_photo` would give it.

    Raises:
        InputError: If shapes do not fit or a value lies outside [0, 1].
    """
    check_shape(f"Picture {name}", image, None, None, 3)
    height, width = image.shape[:2]
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"Picture {name} holds values from {low:g} to {high:g}; expected all within 0 to 1."
        )
    valid = torch.ones(height, width, dtype=torch.bool) if mask is None else mask
    check_shape(f"Mask of picture {name}", valid, height, width)
    size = fit_size(width, height, max_size)
    if size != (width, height):
        image = resize_images(image[None], *size)[0].clamp(0, 1)  # rounding may pass 1 by 1e-7
        valid = resize_masks(valid[None], *size)[0]
    return Picture(
        name=name, image=image, valid=valid, original_size=(width, height), focal_px=None
    )


def assemble_photos(pictures: Sequence[Picture], options: PhotoOptions) -> Photos:
    """Pad to one size; everything about the cameras follows each photo's own scale.

    Raises:
        InputError: If a picture comes twice or has no usable pixel, or the focal length is wild.
    """
    _check_pictures(pictures)
    height = max(picture.image.shape[0] for picture in pictures)
    width = max(picture.image.shape[1] for picture in pictures)
    images = torch.zeros(len(pictures), height, width, 3)
    valid = torch.zeros(len(pictures), height, width, dtype=torch.bool)
    to_original = torch.eye(3).repeat(len(pictures), 1, 1)
    K = torch.eye(3).repeat(len(pictures), 1, 1)
    sigma = torch.full((len(pictures),), torch.nan)
    for index, picture in enumerate(pictures):
        rows, columns = picture.valid.shape
        images[index, :rows, :columns] = picture.image
        valid[index, :rows, :columns] = picture.valid
        original_width, original_height = picture.original_size
        # Pixel centres lie at +0.5, so that positions scale like sizes, without a shift.
        to_original[index, 0, 0] = original_width / columns
        to_original[index, 1, 1] = original_height / rows
        focal_px, sigma[index] = _focal_of(picture, options)
        K[index, 0] = torch.tensor([focal_px, 0, original_width / 2]) * columns / original_width
        K[index, 1] = torch.tensor([0, focal_px, original_height / 2]) * rows / original_height
    return Photos(
        images=images,
        valid=valid,
        names=tuple(picture.name for picture in pictures),
        prior=CameraPrior(K=K, focal_sigma=sigma),
        original_sizes=tuple(picture.original_size for picture in pictures),
        to_original=to_original,
    )


def _check_pictures(pictures: Sequence[Picture]) -> None:
    seen: dict[bytes, str] = {}
    for picture in pictures:
        if not picture.valid.any():
            raise InputError(
                f"Photo {picture.name} has no usable pixel: all are transparent or masked out. "
                "Check its mask (white is used, black left out), or leave it out."
            )
        content = picture.image.numpy(force=True)
        digest = hashlib.sha256(repr(content.shape).encode() + content.tobytes()).digest()
        if digest in seen:
            raise InputError(
                f"Photos {seen[digest]} and {picture.name} are the same picture; expected photos "
                "from different spots. Leave one of them out."
            )
        seen[digest] = picture.name
    sizes = {picture.name: max(picture.valid.shape) for picture in pictures}
    for name, size in sizes.items():
        if size < max(sizes.values()) / 2:
            logger.warning(
                "Photo %s is only %d pixels long, others up to %d; it will show less detail.",
                name,
                size,
                max(sizes.values()),
            )


def _focal_of(picture: Picture, options: PhotoOptions) -> tuple[float, float]:
    """Focal length in pixels of the original and its relative sigma; NaN where unknown."""
    width, height = picture.original_size
    if options.focal_px is not None:
        low, high = (mm / FILM_WIDTH_MM * max(width, height) for mm in FOCAL_35MM_RANGE)
        check_range(
            f"Photo option focal_px (photo {picture.name} is {width} x {height})",
            options.focal_px,
            low,
            high,
        )
        return options.focal_px, 0.0
    if options.fov_degrees is not None:
        return width / 2 / math.tan(math.radians(options.fov_degrees) / 2), 0.0
    if picture.focal_px is not None:
        return picture.focal_px, EXIF_FOCAL_SIGMA
    return math.nan, math.nan
