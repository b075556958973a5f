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
        name: A registered name, or "auto": numba on the CPU where it is installed, else torch.
        device: Where the Gaussians will lie.

    Raises:
        InputError: If the name is unknown.
        MissingDependency: If its packages are absent.
    """
    if name == "auto":
        name = _choose(torch.device(device))
    return load_part("Rasterizer", RASTERIZERS, name, RENAMED)()


def _choose(device: torch.device) -> str:
    if device.type != "cpu":
        return "torch"
    spec = RASTERIZERS["numba"]
    if spec.missing():
        logger.info("numba is absent, so torch rasterizes, much slower (%s).", spec.install)
        return "torch"
    return "numba"
