"""Robust similarities between batches of point sets."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS = 3
"""Of reweighting in a robust fit, which the solver then betters."""
FLOOR = 0.05
"""Residuals below this share of their weighted mean all weigh alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarities:
    """A batch of similarities: x -> scale * rotation @ x + shift."""

    scale: Float[Tensor, " batch"]
    rotation: Float[Tensor, "batch 3 3"]
    shift: Float[Tensor, "batch 3"]

    def apply(self, points: Float[Tensor, "batch n 3"]) -> Float[Tensor, "batch n 3"]:
        """Move each batch's points."""
        return self.scale[:, None, None] * (points @ self.rotation.mT) + self.shift[:, None]


def fit_similarities(
    source: Float[Tensor, "batch n 3"],
    target: Float[Tensor, "batch n 3"],
    weights: Float[Tensor, "batch n"],
) -> Similarities:
    """The similarities with least weighted sum of distances, by reweighted least squares."""
    robust = weights
    for _ in range(ROUNDS):
        fit = _fit_least_squares(source, target, robust)
        robust = reweigh(weights, fit.apply(source) - target)
    return _fit_least_squares(source, target, robust)


def reweigh(
    weights: Float[Tensor, "batch n"], residuals: Float[Tensor, "batch n axis"]
) -> Float[Tensor, "batch n"]:
    """Weights under which squared residuals stand for distances: weight / distance.

    Small distances weigh no more than `FLOOR` times the batch's mean distance does, or a few points
    that happen to fit would decide alone.
    """
    distance = torch.linalg.vector_norm(residuals, dim=-1)
    mean = (weights * distance).sum(-1) / weights.sum(-1)
    # The tiniest number keeps perfect fits from dividing by zero.
    tiny = torch.finfo(distance.dtype).tiny
    return weights / distance.clamp_min((FLOOR * mean).clamp_min(tiny)[:, None])


def _fit_least_squares(
    source: Float[Tensor, "batch n 3"],
    target: Float[Tensor, "batch n 3"],
    weights: Float[Tensor, "batch n"],
) -> Similarities:
    """Umeyama 1991, batched; `ops.sim3.fit_sim3` is the one for a single set."""
    weights = (weights / weights.sum(-1, keepdim=True))[..., None]
    source_mean, target_mean = (weights * source).sum(1), (weights * target).sum(1)
    source, target = source - source_mean[:, None], target - target_mean[:, None]
    left, singular, right = torch.linalg.svd((weights * target).mT @ source)
    sign = torch.ones_like(singular)
    sign[:, 2] = torch.linalg.det(left @ right).sign()
    rotation = (left * sign[:, None]) @ right
    scale = (singular * sign).sum(-1) / (weights * source.square()).sum((1, 2))
    turned = (rotation @ source_mean[..., None])[..., 0]
    return Similarities(scale=scale, rotation=rotation, shift=target_mean - scale[:, None] * turned)
