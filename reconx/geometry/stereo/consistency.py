"""Which depths to believe: those that another view confirms, and how much."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor
from torch.nn import functional

from ...types import CONFIDENT
from .matcher import Evidence

MISS_LIMIT_PX = 1.5
"""A pixel that comes back from a source farther than this from itself is not confirmed."""
DEPTH_LIMIT = 0.05
"""Nor is one whose relative depth differs by more: with little parallax pixels say little."""
LEAST_CORRELATION = 0.25
LEAST_MARGIN = -0.02
"""A match that one a few pixels nearer or farther clearly beats is not the surface: it comes from
neighbours that grew over blank walls, or along edges that lie on the epipolar line."""
SUPPORT_RADIUS = 3
VIEW_FACTORS = (0.0, 0.7, 0.9, 1.0)
"""What 0, 1, 2, 3 or more confirming sources are worth."""
SPECKLE_STEP = 0.02
"""Neighbours whose depths differ by a larger share lie on different islands."""
SPECKLE_SHARE = 6e-4
"""Smaller islands of like depth, as a share of the image, are mistakes."""


def judge_depth(evidence: Evidence, inverse_depth: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Confidence of one view's depths.

    `1 + 9 * correlation * views * support`: mean ZNCC with the confirming sources, `VIEW_FACTORS`,
    and the share of confirmed pixels around.

    Args:
        evidence: What the sources say of the view's planes.
        inverse_depth: Of the planes.

    Returns:
        At least `CONFIDENT` where measured, up to 10; 1 elsewhere.
    """
    # A comparison with NaN is false.
    confirmed = (evidence.miss < MISS_LIMIT_PX) & (evidence.difference < DEPTH_LIMIT)
    confirmed &= evidence.correlation > LEAST_CORRELATION
    confirmed &= evidence.margin > LEAST_MARGIN
    count = confirmed.sum(0)
    mean = torch.where(confirmed, evidence.correlation, 0).sum(0) / count.clamp_min(1)
    factors = torch.tensor(VIEW_FACTORS, device=inverse_depth.device)
    worth = mean * factors[count.clamp(max=len(factors) - 1)]
    support = functional.avg_pool2d(
        (worth > 0).float()[None],
        2 * SUPPORT_RADIUS + 1,
        stride=1,
        padding=SUPPORT_RADIUS,
        count_include_pad=False,
    )[0]
    confidence = 1 + 9 * worth * support
    believed = confidence >= CONFIDENT
    believed &= ~speckles(believed, inverse_depth)
    return torch.where(believed, confidence, 1.0)


def speckles(mask: Bool[Tensor, "h w"], inverse_depth: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """True on islands of `mask`, of pixels with like depths, that are too small to be surfaces."""
    known, value = mask.cpu().numpy(), inverse_depth.cpu().numpy()
    count = known.size
    index = np.arange(count).reshape(known.shape)
    starts, ends = [], []
    for a, b in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        like = np.abs(value[a] - value[b]) < SPECKLE_STEP * np.maximum(value[a], value[b])
        linked = known[a] & known[b] & like
        starts.append(index[a][linked])
        ends.append(index[b][linked])
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = sparse.coo_matrix((np.ones(len(start), np.bool_), (start, end)), (count, count))
    _, island = csgraph.connected_components(graph, directed=False)
    small = np.bincount(island)[island] < SPECKLE_SHARE * count
    return mask & torch.from_numpy(small.reshape(known.shape)).to(mask.device)
