"""What a fit will cost, told before it begins.

The rasterizer's speed is tried out on the machine at hand. What does not depend on it was measured
in November 2026 on x86-64 with 10 to 120 thousand Gaussians and 7 to 200 thousand pixels.
"""

import torch

from ..progress import CostEstimate, Progress
from ..render.rasterizers.registry import choose_rasterizer
from ..render.trial import TRIAL_GAUSSIANS, TRIAL_PIXELS, prepare_rasterizer
from ..types import Scene, Views
from .fit import FitOptions
from .fit.judging import want_judgement
from .fit.memory import drawing_bytes, estimate_megabytes, keep_memory

_STEP = 5e-3
"""Seconds per step, whatever its size."""
_GAUSSIAN, _COEFFICIENT, _PIXEL = 0.4e-6, 0.07e-6, 0.3e-6
"""Seconds of the processor per step: losses, colours, Adam. On a GPU they hide behind `_STEP`."""
_JUDGED = 1.4
"""Seconds of one core per frame that is judged by agreement; on a GPU left out, unmeasured."""
_PLACED = 3e-6
"""Seconds per pixel of the pointmaps, to place Gaussians on them."""
_DRAWN_GAUSSIAN, _DRAWN_PIXEL = 1.0e-6, 0.2e-6
"""Seconds of one core for drawing with numba and its gradients; others are alike but for a factor,
which the trial finds."""


def estimate_fit(
    scene: Scene,
    views: Views | None,
    options: FitOptions,
    device: str = "cpu",
    progress: Progress | None = None,
) -> CostEstimate:
    """Tell what `fit_gaussians` will cost with the same arguments.

    Args:
        scene: As for the fit.
        views: As for the fit.
        options: As for the fit.
        device: As for the fit.
        progress: Told while the rasterizer is tried out, see `prepare_rasterizer`.
    """
    rasterizer = choose_rasterizer(options.rasterizer, device)
    drawing = drawing_bytes(rasterizer, device)
    options = keep_memory(scene, views, options, drawing)
    trial = prepare_rasterizer(rasterizer, device, progress)
    slowness = trial / (TRIAL_GAUSSIANS * _DRAWN_GAUSSIAN + TRIAL_PIXELS * _DRAWN_PIXEL)
    gaussians = min(options.max_gaussians, int(scene.valid.sum()))
    extra = (options.sh_degree + 1) ** 2 - 1
    pictures, pixels = [len(scene.photos)], [scene.photos.width * scene.photos.height]
    frames = 0 if views is None else int((views.photo_index < 0).sum())
    if views is not None and options.train_on_generated and frames:
        pictures.append(frames)
        pixels.append(views.cameras.width * views.cameras.height)
    # Photos and frames train by turns; a step at half resolution has a quarter of the pixels.
    drawn = sum(pixels) / len(pixels) * (1 - 0.75 * options.coarse_share)
    draw = slowness * (gaussians * _DRAWN_GAUSSIAN + drawn * _DRAWN_PIXEL)
    step = _STEP + draw
    if torch.device(device).type == "cpu":
        step += gaussians * (_GAUSSIAN + extra * _COEFFICIENT) + drawn * _PIXEL
    megabytes = estimate_megabytes(scene, views, options, drawing)
    # In the end every picture is drawn once more, without gradients.
    around = scene.valid.numel() * _PLACED + sum(pictures) * draw / 3
    if views is not None and want_judgement(views, options) and torch.device(device).type == "cpu":
        around += frames * _JUDGED / torch.get_num_threads()
    return CostEstimate(seconds=options.steps * step + around, megabytes=megabytes)
