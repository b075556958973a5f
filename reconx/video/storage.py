"""Room for frames: in memory, or in a temporary file where they are too many."""

import logging
import math
import mmap
import shutil
import tempfile

import torch
from torch import Tensor

from ..errors import InputError

logger = logging.getLogger("reconx")

MAX_GIGABYTES = 4.0
"""Frames of a path that take more lie on disk; 480p: about 590."""


def on_disk(num_bytes: int, max_gigabytes: int | float) -> bool:
    """Whether a result lies on disk, and if so, say it and check that it has room there.

    Raises:
        InputError: If the disk lacks the room.
    """
    if num_bytes <= max_gigabytes * 1e9:
        return False
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise InputError(
            f"The frames take {num_bytes / 1e9:.1f} GB, and '{folder}' has {free / 1e9:.1f} GB "
            "left. Make fewer or smaller frames, or let TMPDIR (on Windows TEMP) name a folder "
            "with more room."
        )
    logger.info(
        "The frames take %.1f GB: they lie in a temporary file in %s while they are used.",
        num_bytes / 1e9,
        folder,
    )
    return True


def new_zeros(shape: tuple[int, ...], dtype: torch.dtype, *, disk: bool) -> Tensor:
    """A tensor of zeros, if wanted over a file without a name that goes when the tensor goes."""
    if not disk:
        return torch.zeros(shape, dtype=dtype)
    size = math.prod(shape) * dtype.itemsize
    with tempfile.TemporaryFile(prefix="reconx-") as file:
        file.truncate(size)
        # The map keeps a handle of its own, and torch keeps the map: the file outlives this block
        # on every platform, and is gone with the last handle even after a crash.
        return torch.frombuffer(mmap.mmap(file.fileno(), size), dtype=dtype).reshape(shape)
