"""Whether pycolmap can be used here; asked by features and by bundle adjustment, answered once."""

import logging
from functools import cache

logger = logging.getLogger("reconx")


@cache
def has_pycolmap() -> bool:
    """Try the import; where it fails, one log line says what takes its place."""
    try:
        import pycolmap  # noqa: F401
    except ImportError as error:
        logger.warning(
            "pycolmap cannot be imported (%s): kornia's slower, coarser SIFT and scipy's slower "
            "bundle adjustment take its place.",
            error,
        )
        return False
    return True
