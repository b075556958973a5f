"""How far a picture is from the one it should be, where that one is trusted."""

import importlib.util
import logging
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...progress import Progress, SilentProgress, run_interruptibly

logger = logging.getLogger("reconx")

SSIM_SHARE = 0.2
"""Share of structural similarity in the photometric loss (3D Gaussian Splatting, eq. 7)."""


def photometric_loss(
    image: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    weights: Float[Tensor, "height width"],
) -> Float[Tensor, ""]:
    """Mean over all pixels of `weight * (0.8 L1 + 0.2 (1 - SSIM))` (ReconX, eq. 14).

    A pixel of weight 0 has no influence at all: in its place the neighbours' SSIM windows see what
    was rendered, not the target. The mean runs over all pixels, so that a frame counts as much as
    it is trusted and a frame of holes counts nothing. SSIM compares luminance, as it was defined
    (Wang et al. 2004): per channel it would cost three times as much.

    Differentiable in the image, once. On the CPU, in float32, one compiled kernel computes it.
    """
    return _Loss.apply(image, target, weights)  # pyright: ignore[reportReturnType]


class _Loss(torch.autograd.Function):
    """The loss, whose gradient comes with its value."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        on_cpu = image.device.type == "cpu" and image.dtype == torch.float32
        if on_cpu and _has_numba():
            from .numba_photometric import compare_pictures
        else:
            from .torch_photometric import compare_pictures
        value, gradient = compare_pictures(image, target, weights, SSIM_SHARE)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad_loss: Tensor
    ) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad_loss * gradient, None, None


def prepare_loss(device: torch.device | str = "cpu", progress: Progress | None = None) -> None:
    """Compile the loss where it must be, once per machine; a face that stops it is obeyed at once.

    On a CPU without numba, torch computes it, which is logged.

    Args:
        device: Where pictures will be compared.
        progress: Told about it; may raise to stop.
    """
    if torch.device(device).type == "cpu" and not _has_numba():
        logger.info("numba is absent, so torch compares pictures, four times slower.")

    def work(progress: Progress) -> None:
        task = progress.start("Preparing the loss, once per machine", 1)
        picture = torch.zeros(1, 1, 3, device=device, requires_grad=True)
        photometric_loss(picture, picture.detach(), picture.detach()[..., 0])
        task.update(1)

    run_interruptibly(work, progress or SilentProgress())


def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None
