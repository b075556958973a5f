"""Depth where none was measured: from the background side, never across a depth edge.

A fill that hides what another photo sees is worse than a hole, so filled points that would stand in
front of another view's measured surface are dropped again. Sky is put on a far shell.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import cg
from torch import Tensor

from ..progress import Progress, SilentProgress
from ..types import FILLED, Cameras
from .depth_maps import DepthMaps, hides_measured

SHELL_PERCENTILE = 99
"""Sky stands at this percentile of the measured depths."""
EDGE_STEP = 0.1
"""Neighbours whose inverse depths differ by a larger share lie on two sides of a depth edge."""
REACH_SHARE = 0.05
"""Of the image's long side: the way over which a fill's trust falls to 1/e; a pixel's background
is looked for up to twice as far around."""
COLOUR_COST = 40.0
"""A step between pixels costs 1, plus this times their difference in colour (0 to 1)."""
SMOOTHING_STEPS = 200


def fill_depth(
    maps: DepthMaps,
    images: Float[Tensor, "view h w 3"],
    valid: Bool[Tensor, "view h w"],
    cameras: Cameras,
    progress: Progress | None = None,
) -> DepthMaps:
    """Guess depth where none was measured.

    Args:
        maps: What is known; kept as it is.
        images: The views, for colour edges and sky.
        valid: Only these pixels are filled.
        cameras: At the maps' resolution.
        progress: Told of every view.

    Returns:
        Maps with guesses of confidence 1 to `FILLED`; NaN where invalid, where a guess would hide
        what another view measured, and in views of which nothing is known.
    """
    known = maps.depth.isfinite()
    depth, confidence = maps.depth.clone(), maps.confidence.clone()
    task = (progress or SilentProgress()).start("Filling gaps", len(cameras))
    for view in range(len(cameras)):
        task.update(view)
        missing = valid[view] & ~known[view]
        if not known[view].any() or not missing.any():
            continue
        guess, trust = _fill_view(
            maps.depth[view].numpy(),
            images[view].numpy(),
            known[view].numpy(),
            missing.numpy(),
        )
        filled = torch.where(missing, torch.from_numpy(guess), torch.nan)
        kept = missing & ~hides_measured(filled, view, maps, cameras)
        depth[view] = torch.where(kept, filled, depth[view])
        confidence[view] = torch.where(kept, torch.from_numpy(trust), confidence[view])
    task.update(len(cameras))
    return DepthMaps(depth=depth, confidence=confidence)


def _fill_view(
    depth: Float[np.ndarray, "h w"],
    image: Float[np.ndarray, "h w 3"],
    measured: Bool[np.ndarray, "h w"],
    missing: Bool[np.ndarray, "h w"],
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Depth and confidence for one view's missing pixels."""
    reach = REACH_SHARE * max(depth.shape)
    inverse = np.where(measured, 1 / depth, np.inf)
    links = _Links(measured | missing)
    contrast = np.abs(np.diff(image.reshape(-1, 3)[links.pairs], axis=0)[0]).mean(-1)
    origin, path = _nearest_measured(links, contrast, inverse, measured, reach)
    labelled = np.where(measured, inverse, inverse.ravel()[origin].reshape(depth.shape)).ravel()
    smooth = _smooth(links, contrast, labelled, missing.ravel())
    guess = 1 / smooth.reshape(depth.shape)
    trust = 1 + (FILLED - 1) * np.exp(-path.reshape(depth.shape) / reach)
    sky = _find_sky(image, missing)
    guess = np.where(sky, np.percentile(depth[measured], SHELL_PERCENTILE), guess)
    return guess.astype(np.float32), trust.astype(np.float32)


class _Links:
    """The 4-neighbour links between the pixels of a mask."""

    def __init__(self, mask: Bool[np.ndarray, "h w"]) -> None:
        index = np.arange(mask.size).reshape(mask.shape)
        across = mask[:, :-1] & mask[:, 1:]
        down = mask[:-1] & mask[1:]
        first = np.concatenate([index[:, :-1][across], index[:-1][down]])
        second = np.concatenate([index[:, 1:][across], index[1:][down]])
        self.count = mask.size
        self.pairs: Int[np.ndarray, "2 link"] = np.stack([first, second])


def _nearest_measured(
    links: _Links,
    contrast: Float[np.ndarray, " link"],
    inverse: Float[np.ndarray, "h w"],
    measured: Bool[np.ndarray, "h w"],
    reach: float,
) -> tuple[Int[np.ndarray, " pixel"], Float[np.ndarray, " pixel"]]:
    """For each pixel the measured one to copy from, and the length of the way to it.

    A shortest path over colour steps. Foreground pixels start with a handicap that grows with how
    much nearer they are than the farthest surface around, so that the gap beside an object, which
    only its background can have, goes to the background.
    """
    size = 4 * int(reach) + 1
    farthest = ndimage.minimum_filter(inverse, size=size, mode="nearest")
    handicap = np.zeros_like(inverse)
    handicap[measured] = 10 * reach * np.log(inverse[measured] / farthest[measured])
    root, starts = links.count, np.flatnonzero(measured)
    first, second = links.pairs
    open_ends = ~(measured.ravel()[first] & measured.ravel()[second])
    first, second = first[open_ends], second[open_ends]
    cost = 1 + COLOUR_COST * contrast[open_ends]
    graph = sparse.coo_matrix(
        (
            np.concatenate([cost, cost, handicap.ravel()[starts] + 1e-6]),
            (
                np.concatenate([first, second, np.full(len(starts), root)]),
                np.concatenate([second, first, starts]),
            ),
        ),
        shape=(root + 1, root + 1),
    ).tocsr()
    length, before = csgraph.dijkstra(graph, indices=root, return_predecessors=True)
    # Follow the ways back to their first pixel, twice as far in each turn.
    origin = np.arange(root)
    inner = (before[:root] >= 0) & (before[:root] != root)
    origin[inner] = before[:root][inner]
    while not np.array_equal(origin, origin[origin]):
        origin = origin[origin]
    return origin, length[:root] - handicap.ravel()[origin]


def _smooth(
    links: _Links,
    contrast: Float[np.ndarray, " link"],
    labelled: Float[np.ndarray, " pixel"],
    missing: Bool[np.ndarray, " pixel"],
) -> Float[np.ndarray, " pixel"]:
    """Relax the missing inverse depths to a membrane that is torn at depth edges.

    Conjugate gradients from the copied values. They need not converge: every step is a smoother
    membrane between the same borders.
    """
    first, second = links.pairs
    near = np.maximum(labelled[first], labelled[second])
    far = np.minimum(labelled[first], labelled[second])
    whole = (near - far < EDGE_STEP * near) & (missing[first] | missing[second])
    first, second = first[whole], second[whole]
    weight = 1 / (1 + COLOUR_COST * contrast[whole])
    count = links.count
    adjacency = sparse.coo_matrix((weight, (first, second)), shape=(count, count)).tocsr()
    adjacency = adjacency + adjacency.T
    hold = 1e-4  # towards the copied value, so that pieces without a border have a solution
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    inside = np.flatnonzero(missing)
    laplacian = sparse.diags(degree[inside] + hold) - adjacency[inside][:, inside]
    border = adjacency[inside] @ np.where(missing, 0, np.where(np.isfinite(labelled), labelled, 0))
    target = border + hold * labelled[inside]
    jacobi = sparse.diags(1 / (degree[inside] + hold))
    relaxed, _ = cg(
        laplacian, target, x0=labelled[inside], rtol=1e-4, maxiter=SMOOTHING_STEPS, M=jacobi
    )
    result = labelled.copy()
    result[inside] = relaxed
    return result


def _find_sky(
    image: Float[np.ndarray, "h w 3"], missing: Bool[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """Smooth, blue or burnt-out regions without depth that touch the top of the photo."""
    grey = image.mean(-1)
    mean = ndimage.uniform_filter(grey, 5)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(grey * grey, 5) - mean * mean, 0))
    blue = (image[..., 2] > image[..., 0] + 0.04) & (grey > 0.6)
    plain = missing & (spread < 0.03) & (blue | (image.min(-1) > 0.92))
    plain = ndimage.binary_opening(plain, np.ones((7, 7)))
    regions = np.zeros(missing.shape, np.int32)
    ndimage.label(plain, output=regions)
    at_top = np.unique(regions[: max(1, len(image) // 100)])
    large = np.flatnonzero(np.bincount(regions.ravel()) > 0.002 * image.shape[0] * image.shape[1])
    return np.isin(regions, np.intersect1d(at_top[at_top > 0], large))
