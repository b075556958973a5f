"""What stands behind everything: Gaussians that carry the photos' colours on to where none looked.

A layer around the cameras, one Gaussian per direction, behind the farthest surface there. It shows
through gaps and beyond the photos' borders, where a view would else be black, and is a blurred
guess: no evidence of anything. Owns this layer; what was measured or filled is `placing`'s part.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import sparse
from scipy.sparse.linalg import spsolve
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn import functional

from ..ops.image import local_maximum, resize_images
from ..ops.projection import camera_rays, inside_image, project_points
from ..ops.quaternion import matrix_to_quaternion
from ..ops.sh import colour_to_sh
from ..types import Cameras, Gaussians, Scene

DIRECTIONS = 16_000
"""Spread evenly over the whole sphere: 1.6 degrees from one to the next."""
MARGIN = 0.5
"""How far beyond each border of a photo the layer reaches, in sides of the photo."""
STRIDE = 2
"""Every so many rows and columns of the pointmaps are looked at; a direction sees a hundred."""
FARTHEST_SHARE = 0.1
"""Share of a direction's points that may lie beyond its distance: wrong ones are often far."""
SAME_SURFACE = 1.25
"""Points up to this much nearer than a direction's distance give their colours to it."""
BEHIND = (1.03, 1.2, 1.5, 2.0, 4.0)
"""Multiples of its distance at which a Gaussian may stand: the first that hides nothing."""
BEYOND_ALL = 1.2
"""Distance of what has no depth, as a multiple of almost the farthest point's."""
NEIGHBOURS = 6
"""Directions that each one is held alike to, where no photo looked."""
WIDTH = 0.7
"""Standard deviation, in spacings of directions: neighbours melt into a closed layer."""
FLATNESS = 0.1
"""Standard deviation towards the cameras, as a share of that across."""
OPACITY = 0.95


class _Layer(NamedTuple):
    """Distances from the cameras' midst and colours; NaN where no photo looked."""

    distance: Float[np.ndarray, " direction"]
    colour: Float[np.ndarray, "direction 3"]


def place_background(scene: Scene) -> Gaussians:
    """A layer behind all that the scene holds, as wide as the photos look and half as far again.

    Where photos look, it takes the farthest surface's distance and colours; beyond, harmonic
    functions continue the inverse distance and the colours. It never stands in front of a valid
    point of any photo: where its distance would, it moves back, or has a hole.

    Args:
        scene: Pointmaps and photos; at least one point.

    Returns:
        Gaussians of constant colour in the scene's frame; none if each would hide something.
    """
    center = scene.cameras.centers.mean(0)
    points, colours, farthest = _samples(scene, center)
    directions = _spread_directions(DIRECTIONS)
    # So far off that all cameras see them in the same direction, as the layer's rim.
    looked_at = _near_photos(center + 4 * farthest * directions, scene.cameras)
    directions = directions[looked_at]
    tree = KDTree(directions.numpy())
    seen = _farthest_surfaces(points - center, colours, tree)
    layer = _continued(seen, tree)
    distance = torch.from_numpy(layer.distance).float()
    chosen = torch.zeros_like(distance)
    for multiple in BEHIND:
        candidate = distance * multiple
        free = ~_hides(center + candidate[:, None] * directions, scene)
        chosen = torch.where((chosen == 0) & free, candidate, chosen)
    kept = chosen > 0
    directions, chosen = directions[kept], chosen[kept]
    across = WIDTH * _spacing() * chosen
    return Gaussians(
        means=center + chosen[:, None] * directions,
        quats=matrix_to_quaternion(_frames(directions)),
        scales=torch.stack([across, across, FLATNESS * across], dim=-1),
        opacities=torch.full_like(chosen, OPACITY),
        sh=colour_to_sh(torch.from_numpy(layer.colour).float()[kept].clamp(0, 1))[:, None],
    )


def _spread_directions(count: int) -> Float[Tensor, "count 3"]:
    """Unit vectors, evenly spread (the Fibonacci lattice; Gonzalez 2010)."""
    index = torch.arange(count, dtype=torch.float64)
    height = 1 - (2 * index + 1) / count
    turn = index * (math.pi * (3 - math.sqrt(5)))
    radius = (1 - height.square()).sqrt()
    return torch.stack([radius * turn.cos(), height, radius * turn.sin()], dim=-1).float()


def _spacing() -> float:
    """Angle between neighbouring directions, in radians."""
    return math.sqrt(4 * math.pi / DIRECTIONS)


def _samples(
    scene: Scene, center: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"], float]:
    """Points with colours, and a distance behind them all, where pixels without depth stand."""
    cameras = scene.cameras
    images = resize_images(scene.photos.images, cameras.width, cameras.height)
    pictured = resize_images(scene.photos.valid[..., None].float(), cameras.width, cameras.height)[
        ..., 0
    ]
    thinned = (slice(None), slice(None, None, STRIDE), slice(None, None, STRIDE))
    colours, valid, points = images[thinned], scene.valid[thinned], scene.points[thinned]
    reach = torch.linalg.vector_norm(points[valid] - center, dim=-1)
    reach = torch.cat([reach, torch.linalg.vector_norm(cameras.centers - center, dim=-1)])
    farthest = BEYOND_ALL * float(np.quantile(reach.numpy(), 0.999))
    open_ended = (pictured[thinned] > 0.99) & ~valid
    rays = functional.normalize(camera_rays(cameras)[thinned], dim=-1)
    rays = torch.einsum("vij,vhwj->vhwi", cameras.camera_to_world[:, :3, :3], rays)
    ends = cameras.centers[:, None, None] + farthest * rays
    points = torch.cat([points[valid], ends[open_ended]])
    return points, torch.cat([colours[valid], colours[open_ended]]), farthest


def _near_photos(points: Float[Tensor, "n 3"], cameras: Cameras) -> Bool[Tensor, " n"]:
    """Points that land in a photo or at most `MARGIN` of its sides beyond its borders."""
    near = torch.zeros(len(points), dtype=torch.bool)
    size = torch.tensor([cameras.width, cameras.height])
    for viewmat, K in zip(cameras.viewmats, cameras.K, strict=True):
        pixels, z = project_points(points, viewmat, K)
        around = (pixels > -MARGIN * size) & (pixels < (1 + MARGIN) * size)
        near |= around.all(-1) & (z > 0)
    return near


def _farthest_surfaces(
    offsets: Float[Tensor, "n 3"], colours: Float[Tensor, "n 3"], tree: KDTree
) -> _Layer:
    """Distance and mean colour of what stands farthest in each direction."""
    distance = torch.linalg.vector_norm(offsets, dim=-1)
    reach, cell = map(np.asarray, tree.query((offsets / distance[:, None]).numpy()))
    # Points of no direction of the layer would crowd its rim.
    near = reach < _spacing()
    cell, length, colour = cell[near], distance.numpy()[near], colours.numpy()[near]
    order = np.lexsort((-length, cell))
    cell, length, colour = cell[order], length[order], colour[order]
    found, start, count = np.unique(cell, return_index=True, return_counts=True)
    of_cell = np.full(tree.n, np.nan)
    of_cell[found] = length[start + (FARTHEST_SHARE * count).astype(int)]
    same = length * SAME_SURFACE > of_cell[cell]
    total = np.bincount(cell[same], minlength=tree.n)
    sums = [np.bincount(cell[same], colour[same, c], minlength=tree.n) for c in range(3)]
    with np.errstate(invalid="ignore"):
        return _Layer(of_cell, np.stack(sums, axis=-1) / total[:, None])


def _continued(seen: _Layer, tree: KDTree) -> _Layer:
    """The layer with harmonic inverse distance and colours where no photo looked."""
    values = np.concatenate([1 / seen.distance[:, None], seen.colour], axis=-1)
    known = np.isfinite(seen.distance)
    if known.all():
        return seen
    neighbours = np.asarray(tree.query(tree.data, k=min(NEIGHBOURS + 1, tree.n))[1])
    first = np.repeat(np.arange(tree.n), neighbours.shape[1] - 1)
    links = sparse.coo_matrix(
        (np.ones(len(first)), (first, neighbours[:, 1:].ravel())), shape=(tree.n, tree.n)
    ).tocsr()
    links = links + links.T
    hold = 1e-6  # towards the mean, so that an island that no photo looked at has a solution
    degree = np.asarray(links.sum(axis=1)).ravel()
    inner = links[~known][:, ~known]
    laplacian = sparse.diags(degree[~known] + hold) - inner
    border = links[~known][:, known] @ values[known] + hold * values[known].mean(0)
    values[~known] = np.asarray(spsolve(sparse.csc_matrix(laplacian), border))
    return _Layer(1 / values[:, 0], values[:, 1:])


def _hides(points: Float[Tensor, "n 3"], scene: Scene) -> Bool[Tensor, " n"]:
    """True where a Gaussian of the layer would stand in front of a valid point of a photo."""
    cameras = scene.cameras
    hides = torch.zeros(len(points), dtype=torch.bool)
    for view in range(len(cameras)):
        viewmat, K = cameras.viewmats[view], cameras.K[view]
        local = scene.points[view] @ viewmat[2, :3] + viewmat[2, 3]
        depth = torch.where(scene.valid[view], local, 0.0)
        reach = math.ceil(WIDTH * _spacing() * float(K[0, 0]))
        # All that a Gaussian covers up to one standard deviation.
        farthest = local_maximum(depth[None], reach)[0]
        pixels, z = project_points(points, viewmat, K)
        lands = (z > 0) & inside_image(pixels, cameras.width, cameras.height)
        column, row = pixels[lands].long().unbind(-1)
        hides[lands] |= z[lands] < farthest[row, column]
    return hides


def _frames(directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Right-handed axes whose third is the direction."""
    axis = functional.one_hot(directions.abs().argmin(-1), 3).to(directions)
    first = functional.normalize(torch.linalg.cross(directions, axis), dim=-1)
    return torch.stack([first, torch.linalg.cross(directions, first), directions], dim=-1)
