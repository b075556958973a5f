"""Frames of a video to Photos: of each stretch the sharpest, with never more than one held back."""

import logging
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_range
from ..errors import InputError
from ..ops.image import luminance, resize_images
from ..ops.photos import fit_size
from ..progress import Progress, SilentProgress
from ..types import Photos
from .loading import PhotoOptions, assemble_photos, shrink_picture

logger = logging.getLogger("reconx")

JUDGED_SIZE = 640
"""Long side in pixels at which sharpness is measured: fine enough for shake, too coarse for the
codec's noise."""


def photos_from_video(
    frames: Iterable[Float[Tensor, "height width 3"]],
    total: int,
    count: int,
    *,
    options: PhotoOptions | None = None,
    progress: Progress | None = None,
) -> Photos:
    """Make photos of a video's sharpest frames, one of each of `count` equal stretches.

    Args:
        frames: In order, sRGB in [0, 1]; taken one by one and not kept.
        total: How many frames come, as far as is known. With fewer, the last stretches stay empty,
            which a log line says; more belong to the last stretch.
        count: Photos wanted.
        options: As for `photos_from_images`.
        progress: Told of every frame.

    Returns:
        Photos named after their frames, counted from 0.

    Raises:
        InputError: If fewer than two photos are wanted or can be had, or a value cannot be used.
    """
    options = options or PhotoOptions()
    check_range("Number of photos", count, 2)
    if total < count:
        raise InputError(
            f"The video has {total} frames; expected at least the {count} photos wanted. Ask for "
            "fewer photos, or give a longer video."
        )
    task = (progress or SilentProgress()).start("Choosing sharp frames", total)

    def watched() -> Iterator[Float[Tensor, "height width 3"]]:
        for done, frame in enumerate(frames):
            task.update(min(done, total), lambda frame=frame: frame)
            yield frame

    pictures = [
        shrink_picture(f"frame-{index:06d}", frame, None, options.max_size)
        for index, frame in choose_sharpest(watched(), total, count)
    ]
    if len(pictures) < 2:
        raise InputError(
            f"Only {len(pictures)} frame could be read of a video that should have {total}; "
            "expected at least two. Save the video again, or give photos."
        )
    if len(pictures) < count:
        logger.warning(
            "The video ended early: %d photos were taken of the %d wanted.", len(pictures), count
        )
    return assemble_photos(pictures, options)


def choose_sharpest(
    frames: Iterable[Float[Tensor, "height width 3"]], total: int, count: int
) -> Iterator[tuple[int, Float[Tensor, "height width 3"]]]:
    """Of each of `count` equal stretches of a video the sharpest frame, and its number.

    Holds one frame at a time. Among equally sharp ones the first wins.

    Args:
        frames: In order.
        total: Number of frames; later ones count to the last stretch.
        count: At most `total`.
    """
    best: tuple[int, Float[Tensor, "height width 3"]] | None = None
    stretch, greatest = 0, -1.0
    for index, frame in enumerate(frames):
        if best is not None and min(index * count // total, count - 1) != stretch:
            yield best
            best, greatest = None, -1.0
        stretch = min(index * count // total, count - 1)
        sharpness = measure_sharpness(frame)
        if sharpness > greatest:
            best, greatest = (index, frame), sharpness
    if best is not None:
        yield best


def measure_sharpness(image: Float[Tensor, "height width 3"]) -> float:
    """Variance of the Laplacian of the luminance (Pech-Pacheco et al. 2000), at `JUDGED_SIZE`.

    Compares pictures of one thing: shake and defocus take away what it measures.
    """
    height, width = image.shape[:2]
    grey = luminance(image)[None, ..., None]
    grey = resize_images(grey, *fit_size(width, height, JUDGED_SIZE))[0, ..., 0]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(torch.var(around - 4 * grey[1:-1, 1:-1]))
