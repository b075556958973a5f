"""All Gaussian rasterizers."""

import logging

import torch

from ...parts import PartSpec, load_part
from .base import Rasterizer

logger = logging.getLogger("reconx")

RASTERIZERS: dict[str, PartSpec] = {
    "torch": PartSpec(
        name="torch",
        factory=".render.rasterizers.torch_tiles:TorchTileRasterizer",
        summary="Plain torch; any device and dtype.",
    ),
    "numba": PartSpec(
        name="numba",
        factory=".render.rasterizers.numba_tiles:NumbaTileRasterizer",
        requires=("numba",),
        install="pip install numba",
        summary="Compiled for this computer's processor on first use; the fast one on the CPU.",
    ),
}

RENAMED: dict[str, str] = {}


def make_rasterizer(name: str = "auto", device: torch.device | str = "cpu") -> Rasterizer:
    """Build a registered rasterizer.

    Args:
        name: A registered name, or "auto"; see `choose_rasterizer`.
        device: Where the Gaussians will lie.

    Raises:
        InputError: If the name is unknown.
        MissingDependency: If its packages are absent.
    """
    return load_part("Rasterizer", RASTERIZERS, choose_rasterizer(name, device), RENAMED)()


def choose_rasterizer(name: str = "auto", device: torch.device | str = "cpu") -> str:
    """Today's name of a rasterizer; "auto": numba on the CPU where it is installed, else torch."""
    if name != "auto":
        return RENAMED.get(name, name)
    if torch.device(device).type != "cpu":
        return "torch"
    spec = RASTERIZERS["numba"]
    if spec.missing():
        logger.info("numba is absent, so torch rasterizes, much slower (%s).", spec.install)
        return "torch"
    return "numba"
