"""How much memory a fit takes, and how many Gaussians fit into a given amount."""

import math
from dataclasses import replace

from ...errors import InputError
from ...types import Scene, Views
from .options import FitOptions

GAUSSIAN_BYTES, COEFFICIENT_BYTES, PIXEL_BYTES, STORED_BYTES = 600, 90, 300, 25
"""Per Gaussian, per further coefficient of it, per pixel of the largest picture and of all.
Measured in November 2026 on x86-64."""
FEWEST = 1000
"""Gaussians below which a scene is not worth fitting."""


def estimate_megabytes(scene: Scene, views: Views | None, options: FitOptions) -> float:
    """Memory of a fit beyond what its input takes, 1e6 bytes."""
    gaussians = min(options.max_gaussians, int(scene.valid.sum()))
    return (gaussians * _per_gaussian(options) + _picture_bytes(scene, views, options)) / 1e6


def keep_memory(scene: Scene, views: Views | None, options: FitOptions) -> FitOptions:
    """The options with as few Gaussians as `max_memory_mb` demands.

    Raises:
        InputError: If the pictures alone need more.
    """
    limit = options.max_memory_mb
    needed = estimate_megabytes(scene, views, options)
    if not limit or needed <= limit:
        return options
    pictures, each = _picture_bytes(scene, views, options), _per_gaussian(options)
    budget = int((1e6 * limit - pictures) / each)
    if budget < FEWEST:
        least = math.ceil((pictures + FEWEST * each) / 1e6)
        raise InputError(
            f"max_memory_mb is {limit}; expected at least {least} for these pictures and {FEWEST} "
            "Gaussians. Give more memory, or smaller photos."
        )
    return replace(options, max_gaussians=budget)


def _per_gaussian(options: FitOptions) -> int:
    return GAUSSIAN_BYTES + ((options.sh_degree + 1) ** 2 - 1) * COEFFICIENT_BYTES


def _picture_bytes(scene: Scene, views: Views | None, options: FitOptions) -> int:
    size = scene.photos.width * scene.photos.height
    largest, stored = size, len(scene.photos) * size
    frames = 0 if views is None else int((views.photo_index < 0).sum())
    if views is not None and options.train_on_generated and frames:
        size = views.cameras.width * views.cameras.height
        largest, stored = max(largest, size), stored + frames * size
    return largest * PIXEL_BYTES + stored * STORED_BYTES
