"""Frames along a camera path, and the point renders that guide their making."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..checks import check_shape
from .cameras import Cameras


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRenders:
    """A point cloud seen from cameras, without any filling."""

    cameras: Cameras
    """One per frame."""
    colour: Float[Tensor, "frame height width 3"]
    """0 in holes."""
    depth: Float[Tensor, "frame height width"]
    """z-depth in scene units; 0 in holes."""
    confidence: Float[Tensor, "frame height width"]
    """Confidence of the point that was hit; 1 in holes."""
    hole: Bool[Tensor, "frame height width"]
    """True where no captured surface covers the pixel."""

    def __post_init__(self) -> None:
        """Check that all parts have one size."""
        frames, height, width = len(self.cameras), self.cameras.height, self.cameras.width
        check_shape("PointRenders.colour", self.colour, frames, height, width, 3)
        check_shape("PointRenders.depth", self.depth, frames, height, width)
        check_shape("PointRenders.confidence", self.confidence, frames, height, width)
        check_shape("PointRenders.hole", self.hole, frames, height, width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """Frames with cameras, captured and generated: what a video backbone hands to the fit."""

    frames: Float[Tensor, "frame height width 3"]
    """sRGB in [0, 1]."""
    cameras: Cameras
    """One per frame."""
    confidence: Float[Tensor, "frame height width"] | None = None
    """>= 1; None until somebody has judged the frames."""
    known: Bool[Tensor, "frame height width"]
    """Pixels that came from a render of captured ones."""
    photo_index: Int[Tensor, " frame"]
    """Which photo a frame is; -1 = generated."""

    def __post_init__(self) -> None:
        """Check that all parts have one size."""
        frames, height, width = len(self.cameras), self.cameras.height, self.cameras.width
        check_shape("Views.frames", self.frames, frames, height, width, 3)
        check_shape("Views.known", self.known, frames, height, width)
        check_shape("Views.photo_index", self.photo_index, frames)
        if self.confidence is not None:
            check_shape("Views.confidence", self.confidence, frames, height, width)
