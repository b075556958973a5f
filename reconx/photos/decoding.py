"""One photo file to pixels: colour modes, transparency, orientation, colour profile, shrinking.

Holds one photo at a time, and a JPEG never at full size: it is shrunk while it is decoded.
"""

import io
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageCms
from torch import Tensor

from ..errors import InputError
from ..ops.photos import fit_size
from .exif import SIDEWAYS, focal_from_exif, read_exif, upright_transpose

logger = logging.getLogger("reconx")

MAX_PIXELS = 500_000_000
"""Larger pictures are refused: decoded, they would take gigabytes."""
HALF = 128
"""From this 8-bit value on a mask's pixel is white, and a transparent picture's is seen."""

_LIMIT_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One photo, upright and shrunk, on its way into `Photos`."""

    name: str
    """Unique among the photos."""
    image: Float[Tensor, "height width 3"]
    """sRGB in [0, 1]."""
    valid: Bool[Tensor, "height width"]
    """False where transparent or masked out."""
    original_size: tuple[int, int]
    """(width, height) of the upright original in pixels."""
    focal_px: float | None
    """Focal length from EXIF in pixels of the original; None if unknown."""


def decode_photo(path: Path, name: str, max_size: int) -> Picture:
    """Read a photo, at most `max_size` pixels long, never enlarged.

    An animation gives its first frame. Pixels less than half opaque are not valid.

    Raises:
        InputError: If the file is missing, empty, damaged, too large or no picture.
    """
    with open_image(path) as image:
        size = image.size
        exif = read_exif(image, name)
        focal_px = focal_from_exif(exif, *size, name)
        profile = image.info.get("icc_profile")
        pixels = _shrink(image, path, fit_size(*size, max_size))
    transpose = upright_transpose(exif)
    if transpose is not None:
        pixels = pixels.transpose(transpose)
    if transpose in SIDEWAYS:
        size = (size[1], size[0])
    valid = torch.ones(pixels.height, pixels.width, dtype=torch.bool)
    if pixels.mode in ("LA", "RGBA"):
        valid = torch.from_numpy(np.asarray(pixels.getchannel("A")) >= HALF)
    return Picture(
        name=name,
        image=_to_srgb(pixels, profile, name),
        valid=valid,
        original_size=size,
        focal_px=focal_px,
    )


def decode_mask(path: Path, picture: Picture) -> Bool[Tensor, "height width"]:
    """Read a mask for a decoded photo: white is used, black left out.

    The mask may have another size than the photo, but not another shape.

    Raises:
        InputError: If the file cannot be read or its shape is not the photo's.
    """
    with open_image(path) as image:
        transpose = upright_transpose(read_exif(image, path.name))
        grey = _decode(image, path).convert("L")
    if transpose is not None:
        grey = grey.transpose(transpose)
    width, height = picture.original_size
    # One pixel of rounding on the mask's shorter side is no other shape.
    if abs(grey.width * height - grey.height * width) > max(width, height):
        raise InputError(
            f"Mask '{path}' is {grey.width} x {grey.height} pixels and its photo "
            f"{picture.name} {width} x {height}; expected the same shape. "
            "Make the mask from the upright, uncropped photo."
        )
    rows, columns = picture.valid.shape
    grey = grey.resize((columns, rows), Image.Resampling.NEAREST)
    return torch.from_numpy(np.asarray(grey) >= HALF)


def open_image(path: Path) -> Image.Image:
    """Open a picture without decoding it.

    Pillow's own limit (a warning from 89 megapixels, an error from 179) would stop photos of
    today's phones and scanners, so that `MAX_PIXELS` stands in for it while the header is read.

    Raises:
        InputError: If the file is missing, empty, too large or no picture.
    """
    if not path.is_file():
        raise InputError(f"Photo '{path}' does not exist. Check the path.")
    if path.stat().st_size == 0:
        raise InputError(f"Photo '{path}' is empty (0 bytes). Copy it again, or leave it out.")
    with _LIMIT_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(
                f"Photo '{path}' is not a picture that can be read. Expected JPEG, PNG, WebP, TIFF "
                "or the like: convert it to JPEG, or leave it out."
            ) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise InputError(
            f"Photo '{path}' is {image.width} x {image.height} pixels; expected at most "
            f"{MAX_PIXELS // 1_000_000} megapixels. Shrink it first."
        )
    return image


def _shrink(image: Image.Image, path: Path, size: tuple[int, int]) -> Image.Image:
    """Decode to `size` in one of the modes L, RGB, LA, RGBA, CMYK and F (in [0, 1])."""
    # A JPEG decodes directly to 1/2, 1/4 or 1/8; twice the target leaves the last filter enough.
    # The drafted size is rounded up, so that the exact box of the original comes with it.
    drafted = image.draft(image.mode, (2 * size[0], 2 * size[1]))
    pixels = _decode(image, path)
    box = drafted[1] if drafted else (0, 0, *pixels.size)
    pixels = _to_resizable(pixels, path)
    # Transparent pixels weigh nothing: Pillow resizes alpha modes with premultiplied colours.
    return pixels.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _decode(image: Image.Image, path: Path) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # codecs raise anything on damaged data; each case means the same
        raise InputError(
            f"Photo '{path}' is damaged or cut off ({error}). Copy it again, or leave it out."
        ) from error
    return image


def _to_resizable(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _to_unit_floats(image, path)
    if image.mode in ("L", "RGB", "LA", "RGBA", "CMYK") and "transparency" not in image.info:
        return image
    try:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    except ValueError as error:
        raise InputError(
            f"Photo '{path}' has colours of mode {image.mode}, which cannot be converted to RGB. "
            "Save it as an RGB picture."
        ) from error


def _to_unit_floats(image: Image.Image, path: Path) -> Image.Image:
    """16-bit greys (also in a 32-bit container) and floats as floats in [0, 1]."""
    values = np.asarray(image).astype(np.float32)
    if image.mode != "F":
        values /= 65535
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"Photo '{path}' holds values from {low:g} to {high:g} of full scale; expected 0 to 1. "
            "Save it as an 8 or 16 bit picture."
        )
    return Image.fromarray(values)


def _to_srgb(
    pixels: Image.Image, profile: bytes | None, name: str
) -> Float[Tensor, "height width 3"]:
    """Colours as sRGB; without an embedded profile they are taken for sRGB already."""
    if pixels.mode == "F":
        # The Lanczos filter overshoots at edges by a few percent.
        grey = torch.from_numpy(np.array(pixels)).clamp(0, 1)
        return grey[..., None].expand(-1, -1, 3).contiguous()
    if pixels.mode in ("LA", "RGBA"):
        pixels = pixels.convert(pixels.mode[:-1])
    if profile is not None:
        pixels = _apply_profile(pixels, profile, name)
    return torch.from_numpy(np.array(pixels.convert("RGB"))).float() / 255


def _apply_profile(pixels: Image.Image, profile: bytes, name: str) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return pixels
        converted = ImageCms.profileToProfile(
            pixels, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError) as error:
        logger.warning(
            "Photo %s: its colour profile is broken or of another colour model and is ignored; "
            "the colours are taken for sRGB (%s).",
            name,
            error,
        )
        return pixels
    return converted if converted is not None else pixels
