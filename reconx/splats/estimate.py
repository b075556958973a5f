"""What a fit will cost, told before it begins.

The rasterizer's speed is tried out on the machine at hand. What does not depend on it was measured
in November 2026 on x86-64 with 10 to 120 thousand Gaussians and 7 to 200 thousand pixels. Not
counted: compiling the rasterizer, once per machine (about 20 s).
"""

import functools
import time

import torch

from ..progress import CostEstimate
from ..render.gaussians import render_gaussians
from ..render.rasterizers.registry import choose_rasterizer, make_rasterizer
from ..types import Cameras, Gaussians, Scene, Views
from .fit import FitOptions
from .threads import one_torch_thread

_STEP = 5e-3
"""Seconds per step, whatever its size."""
_GAUSSIAN, _COEFFICIENT, _PIXEL = 0.4e-6, 0.07e-6, 0.3e-6
"""Seconds of the processor per step: losses, colours, Adam. On a GPU they hide behind `_STEP`."""
_PLACED = 3e-6
"""Seconds per pixel of the pointmaps, to place Gaussians on them."""
_DRAWN_GAUSSIAN, _DRAWN_PIXEL = 1.0e-6, 0.2e-6
"""Seconds of one core for drawing with numba and its gradients; others are alike but for a factor,
which the trial finds."""
_GAUSSIAN_BYTES, _COEFFICIENT_BYTES, _PIXEL_BYTES, _STORED_BYTES = 600, 90, 300, 25
"""Per Gaussian, per further coefficient of it, per pixel of the largest picture and of all."""
_TRIAL_GAUSSIANS, _TRIAL_SIDE = 20_000, 256


def estimate_fit(
    scene: Scene, views: Views | None, options: FitOptions, device: str = "cpu"
) -> CostEstimate:
    """Tell what `fit_gaussians` will cost with the same arguments.

    Takes a fraction of a second itself, on the first call for a rasterizer.
    """
    gaussians = min(options.max_gaussians, int(scene.valid.sum()))
    extra = (options.sh_degree + 1) ** 2 - 1
    pictures, pixels = [len(scene.photos)], [scene.photos.width * scene.photos.height]
    frames = 0 if views is None else int((views.photo_index < 0).sum())
    if views is not None and options.train_on_generated and frames:
        pictures.append(frames)
        pixels.append(views.cameras.width * views.cameras.height)
    # Photos and frames train by turns; a step at half resolution has a quarter of the pixels.
    drawn = sum(pixels) / len(pixels) * (1 - 0.75 * options.coarse_share)
    draw = gaussians * _DRAWN_GAUSSIAN + drawn * _DRAWN_PIXEL
    draw *= _slowness(choose_rasterizer(options.rasterizer, device), device)
    step = _STEP + draw
    if torch.device(device).type == "cpu":
        step += gaussians * (_GAUSSIAN + extra * _COEFFICIENT) + drawn * _PIXEL
    stored = sum(count * size for count, size in zip(pictures, pixels, strict=True))
    memory = gaussians * (_GAUSSIAN_BYTES + extra * _COEFFICIENT_BYTES)
    memory += max(pixels) * _PIXEL_BYTES + stored * _STORED_BYTES
    # In the end every picture is drawn once more, without gradients.
    around = scene.valid.numel() * _PLACED + sum(pictures) * draw / 3
    return CostEstimate(seconds=options.steps * step + around, megabytes=memory / 1e6)


@functools.cache
def _slowness(rasterizer: str, device: str) -> float:
    """How long drawing takes here over what the constants say; the second of two trials counts."""
    count, side = _TRIAL_GAUSSIANS, _TRIAL_SIDE
    draw = make_rasterizer(rasterizer, device)
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(count, 3, generator=generator) - torch.tensor([0.5, 0.5, -1.0])
    K = torch.tensor([[side, 0.0, side / 2], [0.0, side, side / 2], [0.0, 0.0, 1.0]])
    camera = Cameras(camera_to_world=torch.eye(4)[None], K=K[None], width=side, height=side)
    gaussians = Gaussians(
        means=means.to(device).requires_grad_(),
        quats=torch.eye(4, device=device)[:1].repeat(count, 1),
        scales=torch.full((count, 3), 1.5 / side, device=device),
        opacities=torch.full((count,), 0.5, device=device),
        sh=torch.zeros(count, 1, 3, device=device),
    )
    began = 0.0
    with one_torch_thread(device):
        for _ in range(2):
            began = time.perf_counter()
            picture = render_gaussians(gaussians, camera.to(device), rasterizer=draw).colour
            (gradient,) = torch.autograd.grad(picture.sum(), gaussians.means)
            float(gradient.sum())  # waits until the device is done
    expected = count * _DRAWN_GAUSSIAN + side * side * _DRAWN_PIXEL
    return (time.perf_counter() - began) / expected
