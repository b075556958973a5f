"""How much memory a fit takes, and how many Gaussians fit into a given amount."""

import math
from dataclasses import replace

import torch

from ...errors import InputError
from ...render.rasterizers.torch_tiles import GPU_CHUNK
from ...types import Scene, Views
from .options import FitOptions

GAUSSIAN_BYTES, COEFFICIENT_BYTES, PIXEL_BYTES, STORED_BYTES = 600, 90, 300, 25
"""Per Gaussian, per further coefficient of it, per pixel of the largest picture and of all.
Measured in November 2026 on x86-64."""
PAIR_BYTES = 60
"""Per pair that torch's rasterizer blends at once on a GPU. Measured on an H100."""
FEWEST = 1000
"""Gaussians below which a scene is not worth fitting."""


def drawing_bytes(rasterizer: str, device: torch.device | str) -> int:
    """What a rasterizer takes, however few it draws."""
    on_gpu = torch.device(device).type != "cpu"
    return GPU_CHUNK * PAIR_BYTES if on_gpu and rasterizer == "torch" else 0


def estimate_megabytes(
    scene: Scene, views: Views | None, options: FitOptions, drawing: int = 0
) -> float:
    """Memory of a fit beyond what its input takes, 1e6 bytes; `drawing` from `drawing_bytes`."""
    gaussians = min(options.max_gaussians, int(scene.valid.sum()))
    pictures = _picture_bytes(scene, views, options)
    return (gaussians * _per_gaussian(options) + pictures + drawing) / 1e6


def keep_memory(
    scene: Scene, views: Views | None, options: FitOptions, drawing: int = 0
) -> FitOptions:
    """The options with as few Gaussians as `max_memory_mb` demands.

    Raises:
        InputError: If pictures and rasterizer alone need more.
    """
    limit = options.max_memory_mb
    needed = estimate_megabytes(scene, views, options, drawing)
    if not limit or needed <= limit:
        return options
    rest, each = _picture_bytes(scene, views, options) + drawing, _per_gaussian(options)
    budget = int((1e6 * limit - rest) / each)
    if budget < FEWEST:
        least = math.ceil((rest + FEWEST * each) / 1e6)
        remedy = "Install gsplat, give more memory" if drawing else "Give more memory"
        raise InputError(
            f"max_memory_mb is {limit}; expected at least {least} for these pictures and {FEWEST} "
            f"Gaussians. {remedy}, or smaller photos."
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
