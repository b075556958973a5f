"""A start for the solver: pairs joined along a tree, cameras read off their own pairs.

As in DUSt3R's own aligner (arXiv 2312.14132, section 3.4), but every fit is robust, and works on
samples.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...ops.sim3 import fit_sim3_to_cameras
from .graph import grow_tree
from .observations import Samples
from .registration import ROUNDS, fit_similarities, reweigh
from .variables import Known, Variables


def start_from_tree(
    samples: Samples, edges: tuple[tuple[int, int], ...], scores: list[float], known: Known
) -> Variables:
    """Join all pairs along a maximum spanning tree.

    Pair by pair, the similarity that lays the map of a photo already placed onto its place puts the
    other photo there, too. Then each pair as a whole is laid onto the result, and each camera
    stands where its best own pair puts it.

    Args:
        samples: Of all observations.
        edges: (i, j) of each pair.
        scores: How good each pair is.
        known: Given focal lengths are taken over; given poses decide on the world.
    """
    place = torch.zeros(len(known.focal), samples.points.shape[1], 3)
    for step, (pair, old, new) in enumerate(grow_tree(edges, scores)):
        points = samples.points[2 * pair : 2 * pair + 2]
        if step == 0:
            place[edges[pair][old]] = points[old]
        onto = place[edges[pair][old]]
        weights = samples.weights[2 * pair + old]
        fit = fit_similarities(points[old][None], onto[None], weights[None])
        place[edges[pair][new]] = fit.apply(points[new][None])[0]
    pairs = fit_similarities(
        samples.points.reshape(len(edges), -1, 3),
        place[samples.view].reshape(len(edges), -1, 3),
        samples.weights.reshape(len(edges), -1),
    )
    own = _best_own_pairs(edges, scores, len(known.focal))
    variables = Variables(
        pair_scale=pairs.scale.double(),
        pair_rotation=pairs.rotation.double(),
        pair_shift=pairs.shift.double(),
        rotation=pairs.rotation[own].double(),
        center=pairs.shift[own].double(),
        focal=_start_focals(samples, known),
    )
    return _take_given_poses(variables, known)


def _best_own_pairs(
    edges: tuple[tuple[int, int], ...], scores: list[float], views: int
) -> list[int]:
    """For every view the best of the pairs that have its camera's frame."""
    own = [[e for e, (i, _) in enumerate(edges) if i == view] for view in range(views)]
    return [max(pairs, key=lambda e: scores[e]) for pairs in own]


def _start_focals(samples: Samples, known: Known) -> Float[Tensor, " view"]:
    """Given focal lengths, else the one that a photo's own pointmaps obey best.

    Per map the geometric median of `pixel = focal * (x, y) / z` (DUSt3R, section 3.3), per photo
    the median over its maps.
    """
    points, weights = samples.points[::2], samples.weights[::2]
    view = samples.view[::2]
    pixels = (samples.pixels - known.principal[:, None].float())[view]
    squeeze = torch.stack([torch.ones_like(known.aspect), known.aspect], dim=-1)[view, None].float()
    depth = points[..., 2:]
    ahead = depth[..., 0] > 1e-3  # in units of the map's mean distance
    slope = torch.where(ahead[..., None], points[..., :2] / depth, 0) * squeeze
    weights = torch.where(ahead, weights, 0)
    robust = weights
    focal = torch.ones(len(points))
    for _ in range(ROUNDS):
        top = (robust[..., None] * slope * pixels).sum((1, 2))
        focal = top / (robust[..., None] * slope.square()).sum((1, 2))
        robust = reweigh(weights, pixels - focal[:, None, None] * slope)
    medians = torch.stack([focal[view == v].median() for v in range(len(known.focal))])
    return torch.where(known.focal.isnan(), medians.double(), known.focal)


def _take_given_poses(variables: Variables, known: Known) -> Variables:
    """Bring the start into the given poses' world, and put the given cameras where they are."""
    given = known.pose.nonzero()[:, 0]
    if len(given) == 0:
        return variables
    poses = known.camera_to_world[given]
    if known.fixes_scale:
        found = known.cameras(variables)[given]
        world = fit_sim3_to_cameras(found, replace(found, camera_to_world=poses.float()))
        variables = variables.transformed(
            world.scale, world.rotation.double(), world.translation.double()
        )
    else:
        turn = poses[0, :3, :3] @ variables.rotation[given[0]].mT
        shift = poses[0, :3, 3] - turn @ variables.center[given[0]]
        variables = variables.transformed(1.0, turn, shift)
    rotation, center = variables.rotation.clone(), variables.center.clone()
    rotation[given], center[given] = poses[:, :3, :3], poses[:, :3, 3]
    return replace(variables, rotation=rotation, center=center)
