"""What a photo's EXIF block says about its camera: which way is up, and the focal length."""

import logging
import math
import struct

from PIL import Image
from PIL.ExifTags import IFD, Base

logger = logging.getLogger("reconx")

FILM_WIDTH_MM = 36.0
"""Width of the film frame that 35 mm equivalent focal lengths refer to."""
FOCAL_35MM_RANGE = (8.0, 1200.0)
"""Equivalent focal lengths in mm that real lenses have, fisheyes left out."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)
"""Those of them that swap width and height."""
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}


def read_exif(image: Image.Image, name: str) -> Image.Exif:
    """The EXIF block; empty, with one log line, if it cannot be read."""
    try:
        exif = image.getexif()
        exif.get_ifd(IFD.Exif)
    except (SyntaxError, ValueError, KeyError, TypeError, struct.error) as error:
        logger.warning("Photo %s: its EXIF data is broken and is ignored (%s).", name, error)
        return Image.Exif()
    return exif


def upright_transpose(exif: Image.Exif) -> Image.Transpose | None:
    """The flip or quarter turn that makes the stored picture upright; None if it is."""
    orientation = _number(exif.get(Base.Orientation))
    return _UPRIGHT.get(int(orientation)) if math.isfinite(orientation) else None


def focal_from_exif(exif: Image.Exif, width: int, height: int, name: str) -> float | None:
    """Focal length in pixels of the original, or None where EXIF does not tell.

    The 35 mm equivalent counts first: f_px = f_35 / 36 * long side. Else the true focal length over
    the sensor's size, which follows from `FocalPlaneXResolution`. Values that no lens has are
    ignored with one log line.

    Args:
        exif: The photo's EXIF block.
        width: Of the original, in pixels; which side is up does not matter.
        height: Of the original, in pixels.
        name: For the log.
    """
    tags = exif.get_ifd(IFD.Exif)
    long_side = max(width, height)
    for source, focal_35mm in (
        ("FocalLengthIn35mmFilm", _number(tags.get(Base.FocalLengthIn35mmFilm))),
        ("FocalPlaneXResolution", _focal_35mm_from_sensor(tags)),
    ):
        if math.isnan(focal_35mm):
            continue
        if FOCAL_35MM_RANGE[0] <= focal_35mm <= FOCAL_35MM_RANGE[1]:
            return focal_35mm / FILM_WIDTH_MM * long_side
        logger.warning(
            "Photo %s: EXIF %s gives a focal length of %g mm (35 mm equivalent), which is ignored; "
            "lenses have %g to %g mm.",
            name,
            source,
            focal_35mm,
            *FOCAL_35MM_RANGE,
        )
    return None


def _focal_35mm_from_sensor(tags: dict) -> float:
    """35 mm equivalent from focal length and pixel pitch; NaN where a part is missing.

    `FocalPlaneXResolution` counts pixels of the picture as the camera wrote it, whose size EXIF
    keeps, so that a photo that was shrunk since then still gives the right value.
    """
    focal_mm = _number(tags.get(Base.FocalLength))
    pixels_per_unit = _number(tags.get(Base.FocalPlaneXResolution))
    written = (_number(tags.get(Base.ExifImageWidth)), _number(tags.get(Base.ExifImageHeight)))
    unit = _number(tags.get(Base.FocalPlaneResolutionUnit, 2))
    mm_per_unit = _MM_PER_UNIT.get(int(unit)) if math.isfinite(unit) else None
    known = all(math.isfinite(value) and value > 0 for value in (pixels_per_unit, *written))
    if not known or mm_per_unit is None:
        return math.nan
    sensor_mm = max(written) * mm_per_unit / pixels_per_unit
    return focal_mm / sensor_mm * FILM_WIDTH_MM


def _number(value: object) -> float:
    """A tag as a float; NaN if it is absent, a fraction over 0, or no number at all."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    try:
        return float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan
