"""What structure from motion hands to dense stereo."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ...types import Cameras


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseReconstruction:
    """Cameras and triangulated feature points, in the first registered camera's frame."""

    photo_index: tuple[int, ...]
    """Which photo each camera belongs to, ascending; photos that joined nothing are absent."""
    cameras: Cameras
    """One per registered photo, at the photos' (distorted) resolution; K of the pinhole part."""
    distortion: Float[Tensor, "view 2"]
    """Radial k1, k2 per camera."""
    points: Float[Tensor, "point 3"]
    """Triangulated points, arbitrary scale unless poses were given."""
    observed_view: Int[Tensor, " observation"]
    """Camera (index into `cameras`) of each observation."""
    observed_point: Int[Tensor, " observation"]
    """Point of each observation."""
    observed_pixel: Float[Tensor, "observation 2"]
    """Where it was seen, in distorted pixels."""
    matches: Mapping[tuple[int, int], int]
    """Verified matches per pair of photos (indices of photos, i < j)."""
    warnings: tuple[str, ...]
    """What a user should know, photos named."""
