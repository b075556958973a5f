"""Which points of a scene its structure tokens are made of: a fixed budget, wherever they lie.

Owns choosing and normalising points; `encoder.py` makes tokens of them. Nothing here is learned, so
a trainer may keep what it returns.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..checks import check_shape
from ..errors import InputError
from ..ops.photos import resize_photos
from ..ops.projection import world_to_camera
from ..types import Cameras, Scene

RADIUS_SHARE = 0.95
"""Share of the points within the radius that is 1; a few far ones must not shrink all others."""
FINEST = 2.0**-7
"""Smallest voxel, in radii."""
COARSER = 2.0**0.125
"""From one voxel size to the next; a surface's count of occupied ones falls by this squared."""
COARSEST = 88
"""How often voxels may grow by that: to 16 radii, where one holds everything."""
FARTHEST = 8.0
"""In radii; what lies beyond shares the outermost voxels."""
FEWEST = 32
"""Measured points below which there is no structure to speak of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructurePoints:
    """A point cloud of bounded size, in the frame of one camera."""

    positions: Float[Tensor, "point 3"]
    """Centred on their mean, 95 % of them within a radius of 1. Axes of the reference camera."""
    seen: Float[Tensor, "point 3"]
    """The same points as the reference camera sees them: not centred, scaled alike. Centring alone
    would hide where the camera stands."""
    colours: Float[Tensor, "point 3"]
    """sRGB in [0, 1]."""
    queries: Int[Tensor, " query"]
    """Farthest-point subsample, farthest first."""
    reference: Cameras
    """The camera in whose frame they stand."""

    def __post_init__(self) -> None:
        """Check shapes."""
        check_shape("StructurePoints.positions", self.positions, None, 3)
        check_shape("StructurePoints.seen", self.seen, len(self.positions), 3)
        check_shape("StructurePoints.colours", self.colours, len(self.positions), 3)


def choose_points(
    scene: Scene, reference: Cameras, *, points: int, queries: int
) -> StructurePoints:
    """Thin a scene's measured points out to a budget, evenly in space.

    Points that share a voxel become their mean, weighted by log confidence, as the alignment weighs
    them; the voxels are the finest of which no more are occupied than the budget allows.
    What comes out does not depend on the order of the points, and not on the scene's position,
    orientation and scale, as long as the cameras follow.

    Args:
        scene: Where the points come from.
        reference: One camera, the first of the clip that the tokens will guide.
        points: The most that may remain.
        queries: Farthest-point subsample; all points if there are fewer.

    Raises:
        InputError: If fewer than `FEWEST` points were measured, or `reference` is not one camera.
    """
    if len(reference) != 1:
        raise InputError(
            f"Structure is encoded in the frame of one camera, and {len(reference)} were given. "
            "Give the first camera of the clip."
        )
    thinned, centre, radius = _thin_cloud(scene, reference, points)
    positions = ((thinned.places - centre) / radius).float()
    return StructurePoints(
        positions=positions,
        seen=(thinned.places / radius).float(),
        colours=thinned.colours.float(),
        queries=farthest_points(positions, min(queries, len(positions))),
        reference=reference,
    )


def measure_radius(scene: Scene, reference: Cameras, *, points: int) -> float:
    """The radius, in scene units, that `choose_points` scales to 1.

    Args:
        scene: As there.
        reference: As there.
        points: As there.

    Raises:
        InputError: As there.
    """
    return float(_thin_cloud(scene, reference, points)[2])


def _thin_cloud(
    scene: Scene, reference: Cameras, points: int
) -> "tuple[_Cloud, Float[Tensor, '3'], Float[Tensor, '']]":
    """The measured points in the camera's frame, thinned out; their centre and radius."""
    measured = scene.measured
    count = int(measured.sum())
    if count < FEWEST:
        raise InputError(
            f"The scene holds {count} measured points; expected at least {FEWEST} to encode its "
            "structure. Use photos that overlap more, or leave the structure out."
        )
    # Double precision: sums over many points would depend on their order.
    seen = world_to_camera(scene.points[measured].double(), reference.viewmats[0].double())
    size = (scene.cameras.width, scene.cameras.height)
    colours = resize_photos(scene.photos, *size).images[measured].double()
    centre, radius = _sphere(seen)
    if not (seen.isfinite().all() and radius > 0):
        raise InputError(
            f"The scene's {count} measured points are not finite, or all in one place; expected a "
            "surface. Build the scene anew, or leave the structure out."
        )
    weight = scene.confidence[measured].double().log()
    cloud = _thin_out(_Cloud((seen - centre) / radius, colours, weight), points)
    seen = cloud.places * radius + centre
    return cloud._replace(places=seen), *_sphere(seen)


def farthest_points(points: Float[Tensor, "point 3"], count: int) -> Int[Tensor, " count"]:
    """Indices of points that lie far from each other, each the farthest from those before it.

    Farthest point sampling (Eldar et al. 1997), begun at the point nearest to the origin.
    """
    chosen = torch.empty(count, dtype=torch.long, device=points.device)
    chosen[0] = points.square().sum(-1).argmin()
    x, y, z = points.unbind(-1)
    distance = torch.full_like(x, torch.inf)
    for step in range(1, count):
        last = points[chosen[step - 1]]
        to_last = (x - last[0]).square_().add_((y - last[1]).square_())
        torch.minimum(distance, to_last.add_((z - last[2]).square_()), out=distance)
        chosen[step] = distance.argmax()
    return chosen


def _sphere(points: Float[Tensor, "point 3"]) -> tuple[Float[Tensor, "3"], Float[Tensor, ""]]:
    """The mean of points, and the radius around it that holds `RADIUS_SHARE` of them."""
    centre = points.mean(0)
    lengths = (points - centre).norm(dim=-1)
    radius = lengths.kthvalue(max(1, round(RADIUS_SHARE * len(lengths)))).values
    return centre, radius


class _Cloud(NamedTuple):
    places: Float[Tensor, "point 3"]
    colours: Float[Tensor, "point 3"]
    weight: Float[Tensor, " point"]


def _thin_out(cloud: _Cloud, budget: int) -> _Cloud:
    """One point per occupied voxel, of the finest voxels of which no more are occupied."""
    merged = _merge(cloud, FINEST)
    finest, coarsest = 0, COARSEST
    while finest < coarsest and len(merged.places) > budget:
        middle = (finest + coarsest) // 2
        if len(_voxels(merged.places, FINEST * COARSER**middle).unique()) <= budget:
            coarsest = middle
        else:
            finest = middle + 1
    return _merge(merged, FINEST * COARSER**finest) if finest else merged


def _merge(cloud: _Cloud, size: float) -> _Cloud:
    """The weighted mean of each voxel's points."""
    occupied, owner = _voxels(cloud.places, size).unique(return_inverse=True)
    total = cloud.weight.new_zeros(len(occupied)).index_add_(0, owner, cloud.weight)
    weight = (cloud.weight / total[owner])[:, None]
    places, colours = (
        total.new_zeros(len(occupied), 3).index_add_(0, owner, weight * values)
        for values in (cloud.places, cloud.colours)
    )
    return _Cloud(places, colours, total)


def _voxels(places: Float[Tensor, "point 3"], size: float) -> Int[Tensor, " point"]:
    """The number of the voxel that each point lies in."""
    side = int(2 * FARTHEST / size) + 1
    cells = ((places.clamp(-FARTHEST, FARTHEST) + FARTHEST) / size).long()
    return (cells[:, 0] * side + cells[:, 1]) * side + cells[:, 2]
