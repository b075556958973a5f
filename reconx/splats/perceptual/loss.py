"""The perceptual term of the fit: LPIPS where the user has its weights, else a free stand-in."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from .detail import gradient_distance
from .weights import load_lpips

logger = logging.getLogger("reconx")

Distance = Callable[[Tensor, Tensor], Tensor]
"""Of two pictures (height width 3) in [0, 1]; a number, 0 for equal ones."""


def make_distance(path: Path | None, device: torch.device | str) -> Distance:
    """LPIPS from a file or folder; without one the distance that needs none, and a notice.

    Raises:
        WeightsNotFound: As `load_lpips`.
        UnsafeCheckpoint: As `load_lpips`.
        InputError: As `load_lpips`.
    """
    if path is not None:
        return load_lpips(path, device)
    logger.info("No weights of LPIPS are given: brightness steps at three sizes stand in.")
    return gradient_distance


def perceptual_loss(
    distance: Distance,
    image: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    weights: Float[Tensor, "height width"],
) -> Float[Tensor, ""]:
    """The distance of two pictures, times the picture's mean weight (ReconX, eq. 14).

    Where the weight is 0 the target shows what was rendered, so that it has no influence.
    """
    target = torch.where(weights[..., None] > 0, target, image.detach())
    return weights.mean() * distance(image, target)
