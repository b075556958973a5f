"""Levenberg-Marquardt over pairs and cameras, with what is known held fixed."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import AlignmentFailed
from .objective import Residuals, evaluate, linearise
from .observations import Samples
from .variables import PAIR_SIZE, VIEW_SIZE, Known, Variables

logger = logging.getLogger("reconx")

LEAST_GAIN = 3e-5
"""The relative gain of a step at which the solver has arrived."""
DAMPING = 1e-4
"""Of the first step, as a share of H's diagonal."""
MOST_DAMPING = 1e6
PRIOR_SHARE = 0.1
"""At one sigma from its prior, a focal length costs as much as this share of its view's loss."""


def solve(
    samples: Samples,
    known: Known,
    start: Variables,
    *,
    shared_focal: bool,
    max_steps: int,
    report: Callable[[int], None],
) -> Variables:
    """Minimise the objective from a start nearby.

    Held fixed: given poses, or the first view's where none is given; given focal lengths; and the
    mean logarithm of the pair scales, unless given poses decide on the scale. There, the objective
    counts in units of the pairs: in the world's, a smaller world would have smaller errors, and
    noisy pairs would shrink towards it.

    Args:
        samples: Of all observations.
        known: Of the cameras; `start` has given poses in place.
        start: Where to begin.
        shared_focal: All focal lengths that are not held fixed are one.
        max_steps: At most so many steps.
        report: Called with the number of steps done.

    Raises:
        AlignmentFailed: If the objective is not finite at the start.
    """
    residuals = evaluate(samples, known, start)
    if not math.isfinite(residuals.loss):
        raise AlignmentFailed(
            f"The pairs of {len(known.focal)} photos cannot be joined: their mean distance from "
            f"each other is {residuals.loss}. Leave out pairs whose pointmaps are flat or empty."
        )
    price = PRIOR_SHARE * residuals.loss / _mean_scale(start) / len(known.focal)
    prior = _FocalPrior(known, price)
    columns = _columns(known, len(start.pair_scale), shared_focal)
    here = _Place(start, residuals, _cost(residuals, start, prior), DAMPING)
    for step in range(max_steps):
        report(step)
        there = _next_place(samples, known, prior, columns, here)
        if there is None or there.cost > (1 - LEAST_GAIN) * here.cost:
            return (there or here).variables
        here = there
    logger.info("The alignment stopped after %d steps, before it had settled.", max_steps)
    return here.variables


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the solver stands."""

    variables: Variables
    residuals: Residuals
    cost: float
    """What is minimised."""
    damping: float
    """For the next step."""


def _next_place(
    samples: Samples, known: Known, prior: "_FocalPrior", columns: Int[Tensor, " entry"], at: _Place
) -> _Place | None:
    """Go one step downhill, the shorter the less the model can be trusted; None at the bottom."""
    H, b = linearise(samples, at.variables, at.residuals)
    scales = _scale_entries(at.variables)
    if known.fixes_scale:
        b[scales] += at.residuals.loss / len(scales)  # the slope of the unit
    prior.add_to(H, b, at.variables)
    H, b = _reduce(H, b, columns)
    damping, rigid = at.damping, scales[: 0 if known.fixes_scale else None]
    while damping < MOST_DAMPING:
        trial = at.variables.moved(_best_step(H, b, damping, columns, rigid))
        residuals = evaluate(samples, known, trial, at.residuals.depth)
        cost = _cost(residuals, trial, prior)
        if cost < at.cost:  # false for NaN, too
            return _Place(trial, residuals, cost, damping / 10)
        damping *= 10
    return None


class _FocalPrior:
    """What uncertain focal lengths cost for straying from their given values."""

    def __init__(self, known: Known, price: float) -> None:
        self.view = ((known.focal_sigma > 0) & known.focal_sigma.isfinite()).nonzero()[:, 0]
        self.focal = known.focal[self.view]
        self.stiffness = 2 * price / known.focal_sigma[self.view].square()

    def _strays(self, variables: Variables) -> Float[Tensor, " prior"]:
        return (variables.focal[self.view] / self.focal).log()

    def cost(self, variables: Variables) -> float:
        return float((self.stiffness * self._strays(variables).square()).sum()) / 2

    def add_to(
        self, H: Float[Tensor, "entry entry"], b: Float[Tensor, " entry"], variables: Variables
    ) -> None:
        entry = PAIR_SIZE * len(variables.pair_scale) + VIEW_SIZE * self.view + VIEW_SIZE - 1
        stiffness = self.stiffness * _mean_scale(variables)  # H and b are in the world's units
        H[entry, entry] += stiffness
        b[entry] -= stiffness * self._strays(variables)


def _columns(known: Known, pairs: int, shared_focal: bool) -> Int[Tensor, " entry"]:
    """Which unknown of the reduced system each entry of a step is; the last stands for fixed."""
    free_pose = ~known.pose
    if not known.pose.any():
        free_pose[0] = False
    free_focal = known.focal_sigma > 0
    free = torch.cat(
        [
            torch.ones(PAIR_SIZE * pairs, dtype=torch.bool),
            torch.cat([free_pose[:, None].expand(-1, 6), free_focal[:, None]], dim=-1).flatten(),
        ]
    )
    label = torch.where(free, torch.arange(len(free)), len(free))
    if shared_focal:
        focal = PAIR_SIZE * pairs + VIEW_SIZE * free_focal.nonzero()[:, 0] + VIEW_SIZE - 1
        label[focal] = focal.amin().clone() if len(focal) else label[focal]
    # A fixed entry may not exist; the extra label makes sure that the last column does.
    return torch.cat([label, torch.tensor([len(free)])]).unique(return_inverse=True)[1][:-1]


def _reduce(
    H: Float[Tensor, "entry entry"], b: Float[Tensor, " entry"], columns: Int[Tensor, " entry"]
) -> tuple[Float[Tensor, "unknown unknown"], Float[Tensor, " unknown"]]:
    """Add up what belongs to one unknown, and drop what is fixed."""
    count = int(columns.max()) + 1
    rows = torch.zeros(count, len(b), dtype=H.dtype).index_add_(0, columns, H)
    both = torch.zeros(count, count, dtype=H.dtype).index_add_(1, columns, rows)
    right = torch.zeros(count, dtype=H.dtype).index_add_(0, columns, b)
    return both[:-1, :-1], right[:-1]


def _best_step(
    H: Float[Tensor, "unknown unknown"],
    b: Float[Tensor, " unknown"],
    damping: float,
    columns: Int[Tensor, " entry"],
    rigid: Int[Tensor, " scale"],
) -> Float[Tensor, " entry"]:
    """The damped model's minimum, for all entries; NaN where rounding spoils it.

    The entries in `rigid` keep their sum.
    """
    damped = H.clone()
    damped.diagonal().mul_(1 + damping)
    # Stiffness against a common change; what little is left of that goes afterwards.
    damped[columns[rigid][:, None], columns[rigid]] += H.diagonal().max()
    factor, failed = torch.linalg.cholesky_ex(damped)
    if failed:
        return torch.full((len(columns),), torch.nan, dtype=torch.float64)
    solved = torch.cholesky_solve(b[:, None], factor)[:, 0]
    step = torch.cat([solved, solved.new_zeros(1)])[columns]
    step[rigid] -= step[rigid].mean()
    return step


def _scale_entries(variables: Variables) -> Int[Tensor, " pair"]:
    """Where a step has the logarithms of the pair scales."""
    return PAIR_SIZE * torch.arange(len(variables.pair_scale)) + PAIR_SIZE - 1


def _mean_scale(variables: Variables) -> float:
    return math.exp(float(variables.pair_scale.log().mean()))


def _cost(residuals: Residuals, variables: Variables, prior: "_FocalPrior") -> float:
    """The objective in units of the pairs, and what focal lengths cost."""
    return residuals.loss / _mean_scale(variables) + prior.cost(variables)
