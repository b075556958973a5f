"""Searches the focal length that no EXIF tells, from how well pairs of photos obey it."""

from collections.abc import Mapping

import numpy as np

from .lenses import TYPICAL_FOCAL, Lenses
from .two_view import VerifiedPair, relative_pose, sampson_errors

RATIOS = np.geomspace(0.45, 1.9, 19)
"""Focal length per long side that are tried: 76 to 30 degrees and beyond."""
MAX_PAIRS = 8
MAX_MATCHES = 600
PRIOR_WEIGHT = 0.02
"""How much of the best score a deviation of 0.35 in log focal length costs."""


def search_focal(
    lenses: Lenses, pairs: Mapping[tuple[int, int], VerifiedPair], tolerance_px: float, seed: int
) -> Lenses:
    """Give every lens that has no focal length the best one on a log grid, then a finer one.

    A focal length is as good as the essential matrices under it: each pair scores the sum over its
    matches of 1 - (Sampson error / tolerance)^2, cut off at 0. A weak log-normal prior at
    `TYPICAL_FOCAL` decides where the pairs do not, as with flat scenes.

    Args:
        lenses: Those with a given focal length keep it, and help.
        pairs: Verified matches; the strongest `MAX_PAIRS` vote.
        tolerance_px: Sampson error at which a match stops counting.
        seed: Of the sampling.
    """
    if lenses.given.all():
        return lenses
    voters = sorted(pairs.items(), key=lambda item: -len(item[1]))[:MAX_PAIRS]
    random = np.random.default_rng(seed)
    samples = []
    for photos, pair in voters:
        chosen = random.permutation(len(pair))[:MAX_MATCHES]
        samples.append((photos, pair.first[chosen], pair.second[chosen]))
    total = sum(len(first) for _, first, _ in samples)

    def score(ratio: float) -> float:
        trial = lenses.with_ratio(ratio)
        support = sum(_pair_support(trial, sample, tolerance_px, seed) for sample in samples)
        prior = PRIOR_WEIGHT * (np.log(ratio / TYPICAL_FOCAL) / 0.35) ** 2
        return float(support) / total - prior

    ratios = list(RATIOS)
    scores = [score(ratio) for ratio in ratios]
    best = int(np.argmax(scores))
    step = np.log(RATIOS[1] / RATIOS[0])
    finer = ratios[best] * np.exp(step * np.array([-0.67, -0.33, 0.33, 0.67]))
    ratios += list(finer)
    scores += [score(ratio) for ratio in finer]
    return lenses.with_ratio(ratios[int(np.argmax(scores))])


def _pair_support(
    lenses: Lenses,
    sample: tuple[tuple[int, int], np.ndarray, np.ndarray],
    tolerance_px: float,
    seed: int,
) -> float:
    """Sum over matches of 1 - (error / tolerance)^2, cut off at 0."""
    (i, j), first, second = sample
    start = lenses.rays(np.full(len(first), i), first)
    end = lenses.rays(np.full(len(second), j), second)
    focal = lenses.mean_focal(i, j)
    pose = relative_pose(start, end, tolerance_px / focal, seed, max_iterations=300)
    errors = sampson_errors(pose, start, end) * focal / tolerance_px
    return float(np.maximum(0, 1 - errors**2).sum())
