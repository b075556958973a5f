"""A scene as 3D Gaussians, and what a fit returns."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..checks import check_shape
from ..errors import InputError
from .scene import Scene
from .views import Views


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussians:
    """Activated parameters of n Gaussians."""

    means: Float[Tensor, "n 3"]
    """Centres."""
    quats: Float[Tensor, "n 4"]
    """Unit rotations, wxyz."""
    scales: Float[Tensor, "n 3"]
    """Standard deviations along the local axes, linear."""
    opacities: Float[Tensor, " n"]
    """In [0, 1]."""
    sh: Float[Tensor, "n coeff 3"]
    """Spherical harmonics; 1, 4, 9 or 16 coefficients; colour = 0.5 + sum(basis * sh)."""

    def __post_init__(self) -> None:
        """Check shapes."""
        count = len(self.means)
        check_shape("Gaussians.means", self.means, None, 3)
        check_shape("Gaussians.quats", self.quats, count, 4)
        check_shape("Gaussians.scales", self.scales, count, 3)
        check_shape("Gaussians.opacities", self.opacities, count)
        check_shape("Gaussians.sh", self.sh, count, None, 3)
        if self.sh.shape[1] not in (1, 4, 9, 16):
            raise InputError(
                f"Gaussians.sh has {self.sh.shape[1]} coefficients; expected 1, 4, 9 or 16."
            )

    def __len__(self) -> int:
        """Count the Gaussians."""
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """0 to 3."""
        return math.isqrt(self.sh.shape[1]) - 1

    @staticmethod
    def concatenate(parts: Sequence["Gaussians"]) -> "Gaussians":
        """One set of Gaussians after the other, all with the harmonics of the richest."""
        count = max(part.sh.shape[1] for part in parts)
        sh = [functional.pad(part.sh, (0, 0, 0, count - part.sh.shape[1])) for part in parts]
        return Gaussians(
            means=torch.cat([part.means for part in parts]),
            quats=torch.cat([part.quats for part in parts]),
            scales=torch.cat([part.scales for part in parts]),
            opacities=torch.cat([part.opacities for part in parts]),
            sh=torch.cat(sh),
        )

    def split(self, size: int) -> Iterator["Gaussians"]:
        """The same Gaussians in order, at most `size` at a time; memory is shared."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield replace(
                self, **{name: getattr(self, name)[part] for name in self.__dataclass_fields__}
            )

    def to(self, device: torch.device | str) -> "Gaussians":
        """The same Gaussians on a device."""
        fields = {name: getattr(self, name).to(device) for name in self.__dataclass_fields__}
        return replace(self, **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """What the fit hands on."""

    gaussians: Gaussians
    """In the scene's frame."""
    scene: Scene
    """The scene with refined captured cameras."""
    views: Views | None
    """The generated views with refined cameras; None if none were given."""
    report: Mapping[str, object]
    """steps, loss, psnr per captured photo and mean over generated frames, seconds, peak memory,
    rasterizer."""
    background: int = 0
    """How many Gaussians, the last ones, are a blurred guess behind everything, not evidence."""

    @property
    def surfaces(self) -> Gaussians:
        """The Gaussians without the background."""
        return next(self.gaussians.split(len(self.gaussians) - self.background))
