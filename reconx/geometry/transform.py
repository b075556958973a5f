"""What people change of a finished scene: which points count, and how large the world is.

A scene's own frame keeps its conventions (view 0 is the identity, its median depth 1), so that
later stages need not know; what changes is `world_from_scene`.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_range
from ..errors import InputError
from ..types import Scene, Sim3
from .scene import replace_points

SEARCH_PX = 2.0
"""A pixel takes the nearest measured point within so many pixels of the pointmap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """A region of space, in the scene's frame."""

    center: Float[Tensor, "3"]
    radius: int | float
    """1 is the median depth of view 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDistance:
    """Two places of one photo, and how far they are apart in truth."""

    photo: int
    """Index."""
    first: tuple[int, int]
    """Column and row of a pixel of the upright original, from 0."""
    second: tuple[int, int]
    """The same of the other place."""
    metres: int | float


def keep_points(scene: Scene, min_confidence: int | float, region: Ball | None = None) -> Scene:
    """Drop points that are too uncertain or lie outside a region.

    A dropped pixel is as if nothing had been found there. The scene is scaled anew where the median
    depth of view 0 changes; its place in the user's world stays.

    Args:
        scene: Photos and cameras stay as they are.
        min_confidence: Points below are dropped; 1 keeps all.
        region: Points outside are dropped; None keeps all.

    Raises:
        InputError: If a value is out of range, or nothing is left of view 0, which the scene's
            scale hangs on.
    """
    check_range("Minimum confidence", min_confidence, 1)
    valid = scene.valid & (scene.confidence >= min_confidence)
    if region is not None:
        check_range("Crop radius", region.radius, 1e-6)
        # NaN where nothing stands, which no comparison lets in.
        valid &= (scene.points - region.center).norm(dim=-1) <= region.radius
    if torch.equal(valid, scene.valid):
        return scene
    if not valid[0].any():
        raise InputError(
            f"No point of photo 1 ({scene.photos.names[0]}) is left with confidence of at least "
            f"{min_confidence:g}" + (f" within radius {region.radius:g}" if region else "") + "; "
            "the scene's scale hangs on them. Lower the confidence threshold or raise the radius."
        )
    points = torch.where(valid[..., None], scene.points, torch.nan)
    return replace_points(scene, points, scene.confidence)


def scale_to_distance(scene: Scene, known: KnownDistance) -> Scene:
    """Scale the user's world, about its origin, so that a known distance has its true length.

    Raises:
        InputError: If a pixel lies outside the photo or shows nothing measured, or the two places
            are one.
    """
    check_range("Known distance in metres", known.metres, 1e-6)
    ends = torch.stack(
        [_point_at(scene, known.photo, pixel) for pixel in (known.first, known.second)]
    )
    length = float((ends[0] - ends[1]).norm())
    if length < 1e-6:
        raise InputError(
            f"Pixels {known.first} and {known.second} of {_photo(scene, known.photo)} show one "
            "place; expected two places at a known distance. Choose them farther apart."
        )
    world = scene.world_from_scene
    growth = Sim3(
        rotation=torch.eye(3),
        translation=torch.zeros(3),
        scale=known.metres / (length * world.scale),
    )
    return replace(scene, world_from_scene=growth.compose(world))


def _point_at(scene: Scene, photo: int, pixel: tuple[int, int]) -> Float[Tensor, "3"]:
    """The measured point that a pixel of the original shows, in the scene's frame."""
    check_range("Number of the photo", photo + 1, 1, len(scene.photos))
    width, height = scene.photos.original_sizes[photo]
    if not (0 <= pixel[0] < width and 0 <= pixel[1] < height):
        raise InputError(
            f"Pixel {pixel} lies outside {_photo(scene, photo)}, which has {width} x {height} "
            "pixels. Give column and row as counted in the original, upright file."
        )
    original = torch.tensor([pixel[0] + 0.5, pixel[1] + 0.5, 1.0])
    position = torch.linalg.solve(scene.photos.to_original[photo], original)[:2]
    cameras, photos = scene.cameras, scene.photos
    position *= torch.tensor([cameras.width / photos.width, cameras.height / photos.height])
    row, column = scene.measured[photo].nonzero(as_tuple=True)
    away = torch.stack([column + 0.5, row + 0.5], dim=-1).sub(position).norm(dim=-1)
    if not len(away) or float(away.min()) > SEARCH_PX:
        raise InputError(
            f"Nothing was measured at pixel {pixel} of {_photo(scene, photo)}. Choose a pixel on a "
            "textured surface; the confidence picture of the point cloud is bright there."
        )
    nearest = away.argmin()
    return scene.points[photo, row[nearest], column[nearest]]


def _photo(scene: Scene, index: int) -> str:
    return f"photo {index + 1} ({scene.photos.names[index]})"
