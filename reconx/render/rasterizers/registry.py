"""All Gaussian rasterizers."""

import torch

from ...parts import PartSpec, load_part
from .base import Rasterizer

RASTERIZERS: dict[str, PartSpec] = {
    "torch": PartSpec(
        name="torch",
        factory=".render.rasterizers.torch_tiles:TorchTileRasterizer",
        summary="Plain torch; any device and dtype.",
    ),
}

RENAMED: dict[str, str] = {}


def make_rasterizer(name: str = "auto", device: torch.device | str = "cpu") -> Rasterizer:
    """Build a registered rasterizer.

    Args:
        name: A registered name, or "auto".
        device: Where the Gaussians will lie; "auto" chooses by it.

    Raises:
        InputError: If the name is unknown.
        MissingDependency: If its packages are absent.
    """
    name = "torch" if name == "auto" else name
    return load_part("Rasterizer", RASTERIZERS, name, RENAMED)()
