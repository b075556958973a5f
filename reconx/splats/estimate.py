"""What a fit will cost, told before it begins.

Measured in November 2026 on two x86-64 cores with the numba rasterizer, 10 to 120 thousand
Gaussians, 7 to 200 thousand pixels; within a third there. The rasterizer's share is taken to shrink
with the cores, the rest runs on one. Not counted: compiling the rasterizer, once per machine (about
20 s), and other programs that want the processor.
"""

from dataclasses import dataclass

import torch

from ..render.rasterizers.registry import choose_rasterizer
from ..types import Scene, Views
from .fit import FitOptions

_STEP = 5e-3
"""Seconds per step, whatever its size."""
_GAUSSIAN, _COEFFICIENT, _PIXEL = 0.4e-6, 0.07e-6, 0.3e-6
"""Seconds per step on one thread: losses, colours, Adam."""
_DRAWN_GAUSSIAN, _DRAWN_PIXEL = 1.0e-6, 0.2e-6
"""Seconds of one core per step: drawing and its gradients."""
_TORCH_DRAWS = 16.0
"""How many times longer torch draws, on the one thread that a fit leaves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitEstimate:
    """What a fit will cost, about."""

    seconds: float | None
    """Wall time; None on devices that nobody measured."""
    megabytes: float
    """Memory beyond what scene and views take, 1e6 bytes."""

    def __str__(self) -> str:
        """For people: "about 95 s, 0.3 GB"."""
        seconds = "" if self.seconds is None else f"{self.seconds:.0f} s, "
        return f"about {seconds}{self.megabytes / 1e3:.1f} GB"


def estimate_fit(
    scene: Scene, views: Views | None, options: FitOptions, device: str = "cpu"
) -> FitEstimate:
    """Tell what `fit_gaussians` will cost with the same arguments; takes no time itself."""
    gaussians = min(options.max_gaussians, int(scene.valid.sum()))
    extra = (options.sh_degree + 1) ** 2 - 1
    pictures, pixels = [len(scene.photos)], [scene.photos.width * scene.photos.height]
    frames = 0 if views is None else int((views.photo_index < 0).sum())
    if views is not None and options.train_on_generated and frames:
        pictures.append(frames)
        pixels.append(views.cameras.width * views.cameras.height)
    stored = sum(count * size for count, size in zip(pictures, pixels, strict=True))
    megabytes = (gaussians * (600 + 90 * extra) + 300 * max(pixels) + 25 * stored) / 1e6
    if torch.device(device).type != "cpu":
        return FitEstimate(seconds=None, megabytes=megabytes)
    # Photos and frames train by turns; a step at half resolution has a quarter of the pixels.
    drawn = sum(pixels) / len(pixels) * (1 - 0.75 * options.coarse_share)
    draw = gaussians * _DRAWN_GAUSSIAN + drawn * _DRAWN_PIXEL
    slow = choose_rasterizer(options.rasterizer, device) == "torch"
    draw *= _TORCH_DRAWS if slow else 1 / torch.get_num_threads()
    step = _STEP + gaussians * (_GAUSSIAN + extra * _COEFFICIENT) + drawn * _PIXEL
    # In the end every picture is drawn once more, without gradients.
    seconds = options.steps * (step + draw) + sum(pictures) * draw / 3
    return FitEstimate(seconds=seconds, megabytes=megabytes)
