"""Where the first Gaussians stand: on the pointmaps, most where the photos show most detail.

Owns the way from a `Scene` to unfitted `Gaussians`; moving them is the fit's part.
"""

import itertools
import logging
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from ..checks import check_range
from ..errors import InputError
from ..ops.image import resize_images
from ..ops.projection import inside_image, project_points, world_to_camera
from ..ops.quaternion import matrix_to_quaternion
from ..ops.sh import colour_to_sh
from ..progress import Progress, SilentProgress, Task
from ..types import Gaussians, Scene

logger = logging.getLogger("reconx")

SAME_SURFACE = 0.02
"""Relative difference of depth up to which two photos are taken to have measured one surface."""
LEVELS = 5
"""Blocks of 1, 2, 4 ... pixels a side that one Gaussian may stand for."""
SMOOTH = 2.0
"""Mean slope of depth inside a block beyond which it holds an edge, not a slanted surface."""
STEEPEST = 4.0
"""Largest stretch of a Gaussian along a surface that is seen at a grazing angle."""
WIDTH = 0.6
"""Standard deviation along the surface, in sides of the block that a Gaussian stands for."""
FLATNESS = 0.2
"""Standard deviation along the normal, as a share of that along the surface."""
MEASURED_OPACITY = 0.9
"""Opacity where a surface was measured."""
FILLED_OPACITY = 0.5
"""Opacity where depth was filled in."""
PRICES = 24
"""Prices of a Gaussian that are tried: each halves the range, on a log scale, of the right one."""


class _Blocks(NamedTuple):
    """Square blocks of one view's pixels, `side` pixels wide."""

    view: int
    side: int
    rows: Int[Tensor, " n"]
    columns: Int[Tensor, " n"]


def place_gaussians(
    scene: Scene,
    *,
    max_gaussians: int = 80_000,
    sh_degree: int = 0,
    progress: Progress | None = None,
) -> Gaussians:
    """Cover every measured or filled surface with Gaussians, none of them twice.

    Each view's pixels are grouped into square blocks by a quadtree that spends the budget where
    merging would lose most colour (rate-distortion pruning, Chou, Lookabaugh and Gray 1989): one
    Gaussian per block, as wide as the block, flat along the surface.

    Args:
        scene: Pointmaps and photos.
        max_gaussians: Budget. Scattered pixels do not merge, so a very small one may be exceeded,
            with a notice.
        sh_degree: Degree of view-dependent colour, 0 to 3; higher coefficients start at 0.
        progress: Told after every pair of photos and every price; may raise to stop.

    Raises:
        InputError: If an argument is out of range, or the scene holds no valid point.
    """
    check_range("max_gaussians", max_gaussians, 1)
    check_range("sh_degree", sh_degree, 0, 3)
    if not scene.valid.any():
        raise InputError("The scene holds no points; Gaussians need at least one measured pixel.")
    colours = resize_images(scene.photos.images, scene.cameras.width, scene.cameras.height)
    task = (progress or SilentProgress()).start("Placing Gaussians", len(scene.photos) + PRICES)
    wanted = scene.valid & ~_shown_elsewhere(scene, task)
    parts = [
        _gaussians_of_blocks(scene, colours, wanted, blocks)
        for blocks in _choose_blocks(scene, colours, wanted, max_gaussians, task)
    ]
    gaussians = Gaussians.concatenate(parts)
    more = (sh_degree + 1) ** 2 - 1
    return replace(gaussians, sh=functional.pad(gaussians.sh, (0, 0, 0, more)))


def view_depths(scene: Scene) -> Float[Tensor, "view h w"]:
    """z-depth of every pixel in its own camera; NaN where not valid."""
    local = [
        world_to_camera(points, viewmat)
        for points, viewmat in zip(scene.points, scene.cameras.viewmats, strict=True)
    ]
    return torch.stack(local)[..., 2]


def _shown_elsewhere(scene: Scene, task: Task) -> Bool[Tensor, "view h w"]:
    """Pixels whose surface another photo stands for.

    That is an earlier photo which measured it too, at no much coarser spacing; and where depth was
    only filled in, a later one as well: what could not be matched may be somebody who walked by.
    """
    cameras, measured = scene.cameras, scene.measured
    depths = view_depths(scene)
    focals = cameras.K[:, 0, 0]
    viewmats = cameras.viewmats
    shown = torch.zeros_like(measured)
    for view, other in itertools.permutations(range(len(cameras)), 2):
        own = scene.valid[view] if other < view else scene.valid[view] & ~measured[view]
        pixels, z = project_points(scene.points[view], viewmats[other], cameras.K[other])
        there = own & inside_image(pixels, cameras.width, cameras.height) & (z > 0)
        column, row = pixels[there].long().unbind(-1)
        depth = depths[other][row, column]
        same = measured[other][row, column] & ((depth / z[there] - 1).abs() < SAME_SURFACE)
        same &= depth / focals[other] < 1.5 * depths[view][there] / focals[view]
        shown[view][there] |= same
        task.update(view)
    return shown


def _choose_blocks(
    scene: Scene,
    colours: Float[Tensor, "view h w 3"],
    wanted: Bool[Tensor, "view h w"],
    budget: int,
    task: Task,
) -> list[_Blocks]:
    """Prune every view's quadtree with one price per Gaussian, the lowest that meets the budget."""
    depths = view_depths(scene)
    focals = scene.cameras.K[:, 0, 0].tolist()
    trees = [
        _merge_errors(*parts)
        for parts in zip(colours, depths, scene.measured, wanted, focals, strict=True)
    ]
    low, high = 1e-6, 1e3
    for step in range(PRICES):
        price = (low * high) ** 0.5
        low, high = (price, high) if _count(_pruned(trees, price)) > budget else (low, price)
        task.update(len(trees) + step + 1)
    blocks = _pruned(trees, high)
    if _count(blocks) > budget:
        logger.info(
            "%d Gaussians placed instead of %d: fewer would not cover what was measured.",
            _count(blocks),
            budget,
        )
    return blocks


def _count(blocks: list[_Blocks]) -> int:
    return sum(len(part.rows) for part in blocks)


def _merge_errors(
    colours: Float[Tensor, "h w 3"],
    depths: Float[Tensor, "h w"],
    measured: Bool[Tensor, "h w"],
    wanted: Bool[Tensor, "h w"],
    focal: float,
) -> list[Float[Tensor, "_ _"]]:
    """Summed squared colour error of each block were it one Gaussian, finest level first.

    Infinite where a block may not be merged: most of it is missing, measured and filled mix, or
    depth jumps. At the finest level 0, and infinite where no Gaussian is wanted.
    """
    side = 1 << (LEVELS - 1)
    height, width = wanted.shape
    pad = (0, -width % side, 0, -height % side)
    there = functional.pad(wanted, pad)
    errors = [torch.where(there, 0.0, torch.inf)]
    far = torch.where(there, functional.pad(depths, pad), -torch.inf)
    near = torch.where(there, functional.pad(depths, pad), torch.inf)
    sums = torch.cat([torch.ones_like(depths)[..., None], measured[..., None], colours], dim=-1)
    sums = torch.cat([sums, colours.square()], dim=-1) * wanted[..., None]
    sums = functional.pad(sums.permute(2, 0, 1), pad)
    for level in range(1, LEVELS):
        far, near, sums = _quads(far).amax(-1), _quads(near).amin(-1), _quads(sums).sum(-1)
        count, real, colour, square = sums[0], sums[1], sums[2:5], sums[5:8]
        error = (square - colour.square() / count.clamp_min(1)).sum(0).clamp_min(0)
        allowed = (count >= 4**level / 4) & ((real == 0) | (real == count))
        # Finite differences of depth per spacing of pixels: the slope of the surface.
        allowed &= far - near < SMOOTH * 2**level * near / focal
        errors.append(torch.where(allowed, error, torch.inf))
    return errors


def _quads(grid: Float[Tensor, "*channel rows columns"]) -> Float[Tensor, "*channel r c 4"]:
    """The four children of every block of the next coarser level."""
    return grid.unflatten(-2, (-1, 2)).unflatten(-1, (-1, 2)).movedim(-3, -2).flatten(-2)


def _pruned(trees: list[list[Float[Tensor, "_ _"]]], price: float) -> list[_Blocks]:
    """The blocks that minimise colour error plus `price` per Gaussian."""
    blocks = []
    for view, errors in enumerate(trees):
        wanted = torch.isfinite(errors[0])
        cost = torch.where(wanted, price, 0.0)
        merged = [wanted]
        for error in errors[1:]:
            children = _quads(cost).sum(-1)
            merged.append(error + price < children)
            cost = torch.minimum(children, error + price)
        covered = torch.zeros_like(merged[-1])
        for level in reversed(range(LEVELS)):
            if level < LEVELS - 1:
                covered = covered.repeat_interleave(2, 0).repeat_interleave(2, 1)
            chosen = merged[level] & ~covered
            covered = covered | chosen
            rows, columns = chosen.nonzero(as_tuple=True)
            blocks.append(_Blocks(view, 1 << level, rows, columns))
    return blocks


def _gaussians_of_blocks(
    scene: Scene,
    colours: Float[Tensor, "view h w 3"],
    wanted: Bool[Tensor, "view h w"],
    blocks: _Blocks,
) -> Gaussians:
    """One Gaussian for each block: mean point and colour, spread along the surface."""
    view, side, rows, columns = blocks
    camera = scene.cameras[view]
    height, width = camera.height, camera.width
    inner = torch.arange(side)
    y = (rows[:, None, None] * side + inner[:, None]).expand(-1, side, side).flatten(1)
    x = (columns[:, None, None] * side + inner).expand(-1, side, side).flatten(1)
    # A block may reach over the border or hold unwanted pixels; the others stand for all of it.
    inside = (y < height) & (x < width)
    pixels = (y.clamp(max=height - 1), x.clamp(max=width - 1))
    there = inside & wanted[view][pixels]
    share = there / there.sum(1, keepdim=True)

    def average(values: Float[Tensor, "h w 3"]) -> Float[Tensor, "n 3"]:
        kept = torch.where(there[..., None], values[pixels], 0.0)
        return (kept * share[..., None]).sum(1)

    means = average(scene.points[view])
    depth = world_to_camera(means, camera.viewmats[0])[:, 2]
    along = WIDTH * depth / camera.K[0, 0, 0] * there.sum(1).sqrt()
    towards = functional.normalize(camera.centers - means, dim=-1)
    normals = functional.normalize(average(_normals(scene.points[view], camera.centers[0])), dim=-1)
    frames, stretch = _surface_frames(normals, towards)
    measured = (scene.measured[view][pixels] & there).any(1)
    return Gaussians(
        means=means,
        quats=matrix_to_quaternion(frames),
        scales=torch.stack([along * stretch, along, along * FLATNESS], dim=-1),
        opacities=torch.where(measured, MEASURED_OPACITY, FILLED_OPACITY),
        sh=colour_to_sh(average(colours[view]))[:, None],
    )


def _normals(points: Float[Tensor, "h w 3"], center: Float[Tensor, "3"]) -> Float[Tensor, "h w 3"]:
    """Surface normals towards the camera, averaged over 5 x 5 pixels; 0 where unknown."""
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    normals = functional.normalize(torch.linalg.cross(down, across), dim=-1)
    normals = functional.pad(normals, (0, 0, 1, 1, 1, 1))
    # Beyond the border of what is valid, differences are NaN: such pixels have no say.
    normals = torch.where(torch.isfinite(normals), normals, 0.0)
    towards = ((center - points) * normals).sum(-1, keepdim=True)
    normals = torch.where(towards < 0, -normals, normals)
    planes = normals.permute(2, 0, 1)[None]
    return functional.avg_pool2d(planes, 5, stride=1, padding=2)[0].permute(1, 2, 0)


def _surface_frames(
    normals: Float[Tensor, "n 3"], towards: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, " n"]]:
    """Axes of a Gaussian on a surface, and how far the first is stretched by slanted viewing.

    Args:
        normals: Unit; 0 where unknown, and the surface then faces the camera.
        towards: Unit directions to the camera.

    Returns:
        Columns: along the steepest descent from the camera, across it, normal. The stretch is the
        footprint of a pixel along the first axis over that along the second.
    """
    normals = torch.where(normals.any(-1, keepdim=True), normals, towards)
    cosine = (normals * towards).sum(-1, keepdim=True)
    descent = towards - cosine * normals
    # Facing surfaces descend nowhere: any direction across the normal will do.
    axis = functional.one_hot(normals.abs().argmin(-1), 3).to(normals)
    any_across = torch.linalg.cross(normals, axis)
    flat = torch.linalg.vector_norm(descent, dim=-1, keepdim=True) < 1e-3
    first = functional.normalize(torch.where(flat, any_across, descent), dim=-1)
    frames = torch.stack([first, torch.linalg.cross(normals, first), normals], dim=-1)
    return frames, 1 / cosine[:, 0].clamp_min(1 / STEEPEST)
