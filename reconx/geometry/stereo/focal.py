"""Searches the focal length that no EXIF tells, from how well pairs of photos obey it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .lenses import TYPICAL_FOCAL, Lenses
from .two_view import VerifiedPair, relative_pose, sampson_errors

RATIOS = np.geomspace(0.45, 1.9, 19)
"""Focal length per long side that are tried: 76 to 30 degrees and beyond."""
MAX_PAIRS = 8
MAX_MATCHES = 600
PRIOR_WEIGHT = 0.02
"""How much of the best score a deviation of 0.35 in log focal length costs."""
UNDECIDED_LOSS = 0.02
"""Share of the matches that a focal length may lose against the best and still be as good."""
UNDECIDED_FACTOR = 2.0
"""Between the longest and the shortest focal length that are as good: from here on it is a guess.
Pairs of a church whose focal length was found within 3 % reach 1.6, a flat scene 4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FocalSearch:
    """The focal length that was found, per long side, and those that fit as well."""

    lenses: Lenses
    """With it."""
    ratio: float
    """The one taken."""
    shortest: float
    """Fits as well, within `UNDECIDED_LOSS`."""
    longest: float
    """The same."""

    @property
    def is_guess(self) -> bool:
        """Whether the photos leave it open."""
        return self.longest >= UNDECIDED_FACTOR * self.shortest

    def describe_doubt(self) -> str:
        """What the photos leave open, as fields of view across the long side."""
        wide, narrow, taken = (
            2 * math.degrees(math.atan(0.5 / ratio))
            for ratio in (self.shortest, self.longest, self.ratio)
        )
        return (
            f"The lens is a guess: the photos fit each other as well with {narrow:.0f} as with "
            f"{wide:.0f} degrees across the long side ({taken:.0f} were taken), so that depth may "
            "be stretched. Keep the EXIF data, give the field of view, or add a photo from another "
            "place."
        )


def search_focal(
    lenses: Lenses, pairs: Mapping[tuple[int, int], VerifiedPair], tolerance_px: float, seed: int
) -> FocalSearch | None:
    """Give every lens that has no focal length the best one on a log grid, then a finer one.

    A focal length is as good as the essential matrices under it: each pair scores the sum over its
    matches of 1 - (Sampson error / tolerance)^2, cut off at 0. A weak log-normal prior at
    `TYPICAL_FOCAL` decides where the pairs do not, as with flat scenes. Dense matching would not
    decide it better: it follows the same epipolar lines (docs/geometry.md).

    Args:
        lenses: Those with a given focal length keep it, and help.
        pairs: Verified matches; the strongest `MAX_PAIRS` vote.
        tolerance_px: Sampson error at which a match stops counting.
        seed: Of the sampling.

    Returns:
        None where every lens has a focal length.
    """
    if lenses.given.all():
        return None
    voters = sorted(pairs.items(), key=lambda item: -len(item[1]))[:MAX_PAIRS]
    random = np.random.default_rng(seed)
    samples = []
    for photos, pair in voters:
        chosen = random.permutation(len(pair))[:MAX_MATCHES]
        samples.append((photos, pair.first[chosen], pair.second[chosen]))
    total = sum(len(first) for _, first, _ in samples)

    def support(ratio: float) -> float:
        trial = lenses.with_ratio(ratio)
        votes = (_pair_support(trial, sample, tolerance_px, seed) for sample in samples)
        return float(sum(votes)) / total

    def score(ratio: float) -> float:
        return found[ratio] - PRIOR_WEIGHT * (np.log(ratio / TYPICAL_FOCAL) / 0.35) ** 2

    found = {ratio: support(ratio) for ratio in RATIOS.tolist()}
    step = np.log(RATIOS[1] / RATIOS[0])
    finer = max(found, key=score) * np.exp(step * np.array([-0.67, -0.33, 0.33, 0.67]))
    found |= {ratio: support(ratio) for ratio in finer.tolist()}
    best = max(found, key=score)
    as_good = [ratio for ratio in found if found[ratio] >= max(found.values()) - UNDECIDED_LOSS]
    return FocalSearch(
        lenses=lenses.with_ratio(best), ratio=best, shortest=min(as_good), longest=max(as_good)
    )


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
