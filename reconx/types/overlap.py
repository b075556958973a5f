"""How far photos show the same surfaces, and where one more would help."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ..checks import check_shape

ALL_WELL = "The photos overlap well: none is missing."
"""Said where no `NextPhoto` is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What the photos of a scene show of each other's surfaces; no similarity changes it."""

    share: Float[Tensor, "view view"]
    """[i, j]: the part of what photo i shows that photo j shows as well; 1 on the diagonal."""
    angle_degrees: Float[Tensor, "view view"]
    """[i, j]: median angle between both lines of sight, over what both show; NaN where that is
    nothing."""
    middle: Float[Tensor, "view view 3"]
    """[i, j]: middle of the points that both show, in the scene's frame; NaN where there is none.
    The one part that goes along with a similarity."""
    witnesses: Int[Tensor, "view h w"]
    """How many photos show the surface at each pixel of the geometry, its own among them; 0 where
    no point stands."""

    def __post_init__(self) -> None:
        """Check that all parts speak of the same views."""
        views = len(self.share)
        check_shape("Overlap.share", self.share, views, views)
        check_shape("Overlap.angle_degrees", self.angle_degrees, views, views)
        check_shape("Overlap.middle", self.middle, views, views, 3)
        check_shape("Overlap.witnesses", self.witnesses, views, None, None)

    @property
    def mutual(self) -> Float[Tensor, "view view"]:
        """The smaller of both shares: a detail lies wholly within a photo of the whole."""
        return self.share.minimum(self.share.mT)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextPhoto:
    """One more photo that would help, as far as the overlap tells."""

    photos: tuple[str, ...]
    """Names of the photo to stand beside, or of the two to stand between."""
    center: Float[Tensor, "3"] | None
    """Where to stand, in the scene's frame; None where the photos tell only beside whom."""
    text: str
    """What was measured, and what to do."""
