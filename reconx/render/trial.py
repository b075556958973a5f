"""Tries a rasterizer out: has it compiled where it must be, and tells how fast it is here."""

import time
from functools import partial

import torch

from ..progress import Progress, SilentProgress, run_interruptibly
from ..types import Cameras, Gaussians
from .gaussians import render_gaussians
from .rasterizers.registry import make_rasterizer
from .threads import one_torch_thread

TRIAL_GAUSSIANS = 20_000
TRIAL_PIXELS = 256 * 256
_SIDE = 256
_seconds: dict[tuple[str, str], float] = {}


def prepare_rasterizer(
    name: str, device: torch.device | str = "cpu", progress: Progress | None = None
) -> float:
    """Compile a rasterizer, once per machine, and time it, once per process.

    Compiling takes up to a minute and cannot be stopped; a face that stops it is obeyed at once
    all the same, and the compiler ends unheard.

    Args:
        name: A registered name, not "auto".
        device: Where the Gaussians will lie.
        progress: Told about it; may raise to stop.

    Returns:
        Seconds to draw `TRIAL_GAUSSIANS` on `TRIAL_PIXELS`, gradients included.

    Raises:
        InputError: If the name is unknown.
        MissingDependency: If its packages are absent.
    """
    key = (name, str(device))
    if key not in _seconds:
        work = partial(_try_out, name, device)
        _seconds[key] = run_interruptibly(work, progress or SilentProgress())
    return _seconds[key]


def _try_out(name: str, device: torch.device | str, progress: Progress) -> float:
    """The second of two runs counts: the first may compile."""
    draw = make_rasterizer(name, device)
    task = progress.start("Preparing the rasterizer, once per machine", 2)
    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(TRIAL_GAUSSIANS, 3, generator=generator)
    gaussians = Gaussians(
        means=spread - torch.tensor([0.5, 0.5, -1.0]),
        quats=torch.eye(4)[:1].repeat(TRIAL_GAUSSIANS, 1),
        scales=torch.full((TRIAL_GAUSSIANS, 3), 1.5 / _SIDE),
        opacities=torch.full((TRIAL_GAUSSIANS,), 0.5),
        sh=torch.zeros(TRIAL_GAUSSIANS, 1, 3),
    ).to(device)
    gaussians.means.requires_grad_()
    K = torch.tensor([[_SIDE, 0.0, _SIDE / 2], [0.0, _SIDE, _SIDE / 2], [0.0, 0.0, 1.0]])
    camera = Cameras(camera_to_world=torch.eye(4)[None], K=K[None], width=_SIDE, height=_SIDE)
    camera, began = camera.to(device), 0.0
    with one_torch_thread(device):
        for run in range(2):
            began = time.perf_counter()
            picture = render_gaussians(gaussians, camera, rasterizer=draw).colour
            (gradient,) = torch.autograd.grad(picture.sum(), gaussians.means)
            float(gradient.sum())  # waits until the device is done
            task.update(run + 1)
    return time.perf_counter() - began
