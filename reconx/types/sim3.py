"""A similarity of space: x -> scale * rotation @ x + translation."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Sim3:
    """Rotation, then scale, then translation. What it acts on lies in `ops/sim3.py`."""

    rotation: Float[Tensor, "3 3"]
    """Proper rotation."""
    translation: Float[Tensor, "3"]
    """In the target's units."""
    scale: float
    """Target units per source unit, > 0."""

    def __post_init__(self) -> None:
        """Check shapes."""
        check_shape("Sim3.rotation", self.rotation, 3, 3)
        check_shape("Sim3.translation", self.translation, 3)

    @staticmethod
    def identity() -> "Sim3":
        """The similarity that changes nothing."""
        return Sim3(rotation=torch.eye(3), translation=torch.zeros(3), scale=1.0)

    def inverse(self) -> "Sim3":
        """The similarity that undoes this one."""
        rotation = self.rotation.mT
        return Sim3(
            rotation=rotation,
            translation=-(rotation @ self.translation) / self.scale,
            scale=1.0 / self.scale,
        )

    def compose(self, first: "Sim3") -> "Sim3":
        """The similarity that applies `first`, then this one."""
        return Sim3(
            rotation=self.rotation @ first.rotation,
            translation=self.scale * (self.rotation @ first.translation) + self.translation,
            scale=self.scale * first.scale,
        )
