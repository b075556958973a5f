"""All Gaussian rasterizers."""

import functools
import logging

import torch

from ...parts import PartSpec, install_command, load_part
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
    "gsplat": PartSpec(
        name="gsplat",
        factory=".render.rasterizers.gsplat_cuda:GsplatRasterizer",
        requires=("gsplat",),
        install="pip install gsplat==1.5.3",
        summary="gsplat's CUDA kernels, compiled on first use; the fast one on NVIDIA cards.",
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
    """Today's name of a rasterizer; "auto": the fastest one that works on the device.

    That is numba on the CPU and gsplat on CUDA; torch elsewhere, and where these do not work, which
    is logged once.
    """
    if name != "auto":
        return RENAMED.get(name, name)
    device = torch.device(device)
    fastest = {"cpu": "numba", "cuda": "gsplat"}.get(device.type)
    if fastest is None:
        return "torch"
    reason = _why_not(fastest, device)
    if reason is None:
        return fastest
    _say_once(f"{fastest} cannot rasterize, so torch does, much slower: {reason}")
    return "torch"


def _why_not(name: str, device: torch.device) -> str | None:
    """Why a rasterizer does not work on a device, with the remedy; None where it does."""
    spec = RASTERIZERS[name]
    if spec.missing():
        return f"{', '.join(spec.missing())} is absent. Run: {install_command(spec.install)}"
    if name == "gsplat":
        from .gsplat_cuda import why_unusable

        return why_unusable(device)
    return None


@functools.cache
def _say_once(text: str) -> None:
    logger.info(text)
