"""Captured photos, as loaded or as a scene keeps them."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from ..checks import check_shape
from ..errors import InputError
from .cameras import CameraPrior


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """Photos of one place, upright and padded to one common size.

    As loaded they have the resolution at which features are found; a `Scene` holds them
    undistorted, at the fit's resolution.
    """

    images: Float[Tensor, "view height width 3"]
    """sRGB in [0, 1]; 0 where padded."""
    valid: Bool[Tensor, "view height width"]
    """False on padding, transparent pixels and the user's masks."""
    names: tuple[str, ...]
    """File names, unique, in the order given."""
    prior: CameraPrior | None = None
    """What is known of the cameras, at this resolution."""
    original_sizes: tuple[tuple[int, int], ...]
    """(width, height) of each upright original, in pixels."""
    to_original: Float[Tensor, "view 3 3"]
    """Affine map from this resolution's pixel coordinates to the upright original's."""

    def __post_init__(self) -> None:
        """Check shapes and counts."""
        check_shape("Photos.images", self.images, None, None, None, 3)
        check_shape("Photos.valid", self.valid, *self.images.shape[:3])
        check_shape("Photos.to_original", self.to_original, len(self.images), 3, 3)
        if not len(self.names) == len(self.original_sizes) == len(self.images):
            raise InputError(
                f"Photos hold {len(self.images)} images, {len(self.names)} names and "
                f"{len(self.original_sizes)} sizes; expected one of each per photo."
            )
        if len(set(self.names)) != len(self.names):
            raise InputError(f"Photo names {self.names} repeat; expected unique names.")

    def __len__(self) -> int:
        """Count the photos."""
        return len(self.images)

    @property
    def height(self) -> int:
        """Common height in pixels, padding included."""
        return self.images.shape[1]

    @property
    def width(self) -> int:
        """Common width in pixels, padding included."""
        return self.images.shape[2]
