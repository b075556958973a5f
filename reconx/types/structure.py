"""The 3D structure condition (ReconX, arXiv 2408.16767, eq. 10)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from .cameras import Cameras


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureTokens:
    """A point cloud as tokens that a video model attends to."""

    tokens: Float[Tensor, "group token channel"]
    """One group, or one per latent frame; never batched."""
    reference: Cameras
    """The camera in whose frame the points were encoded."""
