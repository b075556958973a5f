"""The global point cloud: cameras, pointmaps and their confidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from ..checks import check_shape
from ..errors import InputError
from .cameras import Cameras
from .photos import Photos
from .sim3 import Sim3

CONFIDENT = 3.0
"""At or above this confidence a point was measured and may be shown or trained on as geometry."""
FILLED = 2.0
"""Highest confidence of a point that was filled in, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPointmaps:
    """Pointmaps of an ordered pair of photos, both in the first camera's frame (DUSt3R)."""

    i: int
    """Index of the photo whose camera is the frame."""
    j: int
    """Index of the other photo."""
    points_i: Float[Tensor, "height width 3"]
    """Photo i's points in camera i's frame."""
    points_j: Float[Tensor, "height width 3"]
    """Photo j's points in camera i's frame."""
    confidence_i: Float[Tensor, "height width"]
    """>= 1."""
    confidence_j: Float[Tensor, "height width"]
    """>= 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSource:
    """Where a scene came from, and what its maker has to say about it."""

    estimator: str
    """Registered name of the geometry estimator."""
    checkpoint: str | None = None
    """File name of the weights, if any."""
    licence: str = "Apache-2.0"
    """Licence under which the weights or code that made the geometry stand."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each step."""
    matches: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Verified matches per pair of photo names."""
    warnings: tuple[str, ...] = ()
    """What a user should know, photos named; includes photos that were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Photos with cameras and per-pixel world points.

    View 0's camera is the identity and the median z of its valid points is 1.
    """

    photos: Photos
    """Undistorted, at the fit's resolution; only photos that joined the scene."""
    photo_cameras: Cameras
    """The cameras at the photos' resolution."""
    cameras: Cameras
    """The same cameras at the geometry's resolution."""
    points: Float[Tensor, "view h w 3"]
    """World points (pointmaps); NaN where not valid, so that a forgotten mask fails loudly."""
    confidence: Float[Tensor, "view h w"]
    """>= 1. Filled points have at most `FILLED`; measured ones at least `CONFIDENT`."""
    valid: Bool[Tensor, "view h w"]
    """True where a point stands, measured or filled."""
    up: Float[Tensor, "3"]
    """Unit vector against gravity, as far as the photos tell."""
    world_from_scene: Sim3
    """Undoes the normalisation; exports go through it."""
    source: SceneSource
    """Estimator, licence, timings, warnings."""

    def __post_init__(self) -> None:
        """Check that all parts speak of the same views."""
        views, height, width = len(self.photos), self.cameras.height, self.cameras.width
        check_shape("Scene.points", self.points, views, height, width, 3)
        check_shape("Scene.confidence", self.confidence, views, height, width)
        check_shape("Scene.valid", self.valid, views, height, width)
        check_shape("Scene.up", self.up, 3)
        if len(self.cameras) != views or len(self.photo_cameras) != views:
            raise InputError(
                f"A scene of {views} photos has {len(self.cameras)} cameras and "
                f"{len(self.photo_cameras)} photo cameras; expected one of each per photo."
            )

    @property
    def measured(self) -> Bool[Tensor, "view h w"]:
        """True where a point was measured, not filled in."""
        return self.valid & (self.confidence >= CONFIDENT)
