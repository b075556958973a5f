"""What every geometry estimator is."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ...progress import CostEstimate, Progress
from ...types import Photos, Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryOptions:
    """What every estimator is told; an estimator's own options live beside it."""

    fit_size: int = 512
    """Long side in pixels of the scene's photos, at which Gaussians are fitted."""
    geometry_size: int = 512
    """Long side in pixels of the pointmaps; estimators may round it."""
    device: str = "cpu"
    """Torch device of the heavy work."""
    seed: int = 0
    """Seeds every random choice."""


@runtime_checkable
class GeometryEstimator(Protocol):
    """Turns photos into a scene."""

    def estimate_cost(self, photos: Photos) -> CostEstimate:
        """Tell what `estimate` will cost, in a fraction of a second.

        Raises:
            InputError: If the device cannot be used.
        """
        ...

    def estimate(self, photos: Photos, progress: Progress) -> Scene:
        """Find cameras and pointmaps.

        Honours `photos.prior`. Photos that join no other are left out with a warning while two
        remain.

        Raises:
            InputError: With fewer than two photos.
            AlignmentFailed: If no two photos can be brought into one world.
        """
        ...
