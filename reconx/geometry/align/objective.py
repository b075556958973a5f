"""The objective at the samples, and its second-order model with the depths eliminated.

`sum over observations o and pixels p of w_op || s_e R_e x_op + T_e - (c_v + d_vp k_vp) ||`: that of
DUSt3R (arXiv 2312.14132, eq. 5), where the world point of pixel p of view v is written as depth d
along its ray k from the camera's centre c.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...ops.se3 import skew
from .observations import Samples
from .registration import reweigh
from .variables import PAIR_SIZE, VIEW_SIZE, Known, Variables

DEPTH_ROUNDS = 4
"""Of reweighting in each search for the depths, from those of the step before."""
OWN_SIZE = PAIR_SIZE + VIEW_SIZE
"""Entries of the step that one observation depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """The objective at some variables, with the best depth of every pixel."""

    loss: float
    """Estimate of the objective over all pixels."""
    spokes: Float[Tensor, "observation sample 3"]
    """World points of the pairs, from where the pair's first camera stands."""
    rays: Float[Tensor, "view sample 3"]
    """In the world, with z = 1 in the camera."""
    depth: Float[Tensor, "view sample"]
    """Geometric median along each ray."""
    residuals: Float[Tensor, "observation sample 3"]
    """World points of the pairs less those of the views."""


def evaluate(
    samples: Samples,
    known: Known,
    variables: Variables,
    depth: Float[Tensor, "view sample"] | None = None,
    rounds: int = DEPTH_ROUNDS,
) -> Residuals:
    """Find every pixel's depth, and what the objective then is.

    Args:
        samples: Of all observations.
        known: Of the cameras.
        variables: Where.
        depth: To start the search for the depths from; None for their weighted means.
        rounds: Of that search; 0 takes the depths as they are.
    """
    view, pair = samples.view, samples.pair
    rays = known.rays(samples.pixels, variables.focal) @ variables.rotation.to(samples.points).mT
    turn = (variables.pair_scale[:, None, None] * variables.pair_rotation)[pair].to(samples.points)
    spokes = samples.points @ turn.mT
    apart = variables.pair_shift[pair] - variables.center[view]
    offsets = spokes + apart[:, None].to(spokes)
    seen = rays[view]
    length = rays.square().sum(-1)
    along = (offsets * seen).sum(-1) / length[view]
    beside = offsets.square().sum(-1) - along.square() * length[view]
    depth = _median_depth(samples, along, beside.clamp_min(0), length, depth, rounds)
    residuals = offsets - depth[view][..., None] * seen
    distance = torch.linalg.vector_norm(residuals, dim=-1)
    return Residuals(
        loss=float((samples.weights * distance).double().sum()),
        spokes=spokes,
        rays=rays,
        depth=depth,
        residuals=residuals,
    )


def _median_depth(
    samples: Samples,
    along: Float[Tensor, "observation sample"],
    beside: Float[Tensor, "observation sample"],
    length: Float[Tensor, "view sample"],
    depth: Float[Tensor, "view sample"] | None,
    rounds: int,
) -> Float[Tensor, "view sample"]:
    """Depth with the least weighted sum of distances to the points (Weiszfeld, on a ray).

    Args:
        samples: For the weights, and which observation is of which view.
        along: Depth of each point's foot on the ray.
        beside: Squared distance of each point from the ray.
        length: Squared length of each ray's step of depth 1.
        depth: To start from; None for the weighted mean.
        rounds: Of reweighting.
    """
    view = samples.view

    def mean(weights: Float[Tensor, "observation sample"]) -> Float[Tensor, "view sample"]:
        total = torch.zeros_like(length).index_add_(0, view, weights)
        return torch.zeros_like(length).index_add_(0, view, weights * along) / total

    depth = mean(samples.weights) if depth is None else depth
    for _ in range(rounds):
        square = beside + (along - depth[view]).square() * length[view]
        # A point that a depth hits exactly would divide by zero: 1e-12 is far below any noise.
        depth = mean(samples.weights / (square + 1e-12 * length[view]).sqrt())
    return depth


def linearise(
    samples: Samples, variables: Variables, here: Residuals
) -> tuple[Float[Tensor, "entry entry"], Float[Tensor, " entry"]]:
    """The least squares model of the objective around some variables, depths eliminated.

    Returns:
        Symmetric H and b; the step that solves H step = b minimises the model over all entries of
        `Variables.moved` and all depths.
    """
    view = samples.view
    weights = reweigh(samples.weights, here.residuals)
    count = PAIR_SIZE * len(variables.pair_scale)
    size = count + VIEW_SIZE * len(variables.focal)
    entries = torch.cat(
        [
            PAIR_SIZE * samples.pair[:, None] + torch.arange(PAIR_SIZE),
            count + VIEW_SIZE * view[:, None] + torch.arange(VIEW_SIZE),
        ],
        dim=-1,
    )
    # Every row of the Jacobian is linear in ten numbers per sample, so their second moments are
    # all that has to be summed over the samples.
    features = _features(samples, variables, here)
    weighted = (features * weights[..., None]).mT
    linear = _jacobian_of_features().to(features)
    outer = torch.einsum("kai,laj->klij", linear, linear).reshape(-1, OWN_SIZE * OWN_SIZE)
    own = ((weighted @ features).flatten(1) @ outer).view(-1, OWN_SIZE, OWN_SIZE).double()
    slope = torch.einsum("oka,kai->oi", weighted @ here.residuals, linear).double()
    H = torch.zeros(size, size, dtype=torch.float64)
    H.index_put_((entries[:, :, None], entries[:, None, :]), own, accumulate=True)
    b = torch.zeros(size, dtype=torch.float64).index_add_(0, entries.flatten(), -slope.flatten())
    _eliminate_depths(H, b, entries, samples, here, features, weights)
    return H, b


def _features(
    samples: Samples, variables: Variables, here: Residuals
) -> Float[Tensor, "observation sample 10"]:
    """What the Jacobian is made of.

    The spoke; 1; the arm from the camera's centre to the view's point; that point's derivative by
    log(focal length), which leaves its depth as it is and shrinks the rest.
    """
    arm = here.depth[..., None] * here.rays
    shrink = here.depth[..., None] * variables.rotation[:, None, :, 2].to(arm) - arm
    ones = torch.ones_like(here.spokes[..., :1])
    return torch.cat([here.spokes, ones, arm[samples.view], shrink[samples.view]], dim=-1)


def _jacobian_of_features() -> Float[Tensor, "10 3 14"]:
    """J = sum over k of feature_k * this[k]: d residual / d (pair's entries, view's entries)."""
    linear = torch.zeros(10, 3, OWN_SIZE)
    cross = skew(torch.eye(3))
    axes = torch.arange(3)
    # residual = s R x + T - (c + arm); rotations turn spoke and arm: w x y = -[y]_x w.
    linear[0:3, :, 0:3] = -cross
    linear[axes, axes, 6] = 1
    linear[3, axes, axes + 3] = 1
    linear[3, axes, axes + 10] = -1
    linear[4:7, :, 7:10] = cross
    linear[axes + 7, axes, 13] = -1
    return linear


def _eliminate_depths(
    H: Float[Tensor, "entry entry"],
    b: Float[Tensor, " entry"],
    entries: Int[Tensor, "observation 14"],
    samples: Samples,
    here: Residuals,
    features: Float[Tensor, "observation sample 10"],
    weights: Float[Tensor, "observation sample"],
) -> None:
    """Take the depths out of H and b, in place: a Schur complement by scalars.

    The residual falls by the ray when the depth grows by one, so each depth couples to the others
    by -J^T w ray. The view's own rotation does not: it moves its points across their rays.
    """
    rays = here.rays[samples.view]
    along = torch.stack([here.spokes, features[..., 7:10], here.residuals]).mul(rays).sum(-1)
    turn = torch.linalg.cross(here.spokes, rays)
    pair = torch.cat([turn, rays, along[0, ..., None]], dim=-1) * weights[..., None]
    pull = along[2] * weights
    for view in range(len(here.rays)):
        chosen = (samples.view == view).nonzero()[:, 0]
        ray, weight = here.rays[view], weights[chosen].sum(0)
        own = torch.cat([ray, along[1, chosen[0], :, None]], dim=-1) * -weight[:, None]
        coupling = torch.cat([*pair[chosen], own], dim=-1)
        where = torch.cat([entries[chosen, :PAIR_SIZE].flatten(), entries[chosen[0], -4:]])
        scaled = coupling / (weight * ray.square().sum(-1))[:, None]
        H.index_put_((where[:, None], where), -(coupling.mT @ scaled).double(), accumulate=True)
        b.index_add_(0, where, (scaled.mT @ pull[chosen].sum(0)).double())
