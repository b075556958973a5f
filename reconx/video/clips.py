"""Where a path is cut into clips, and whether a backbone can make them."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import BackboneMismatch
from ..trajectory.frame_rule import largest_legal_count, legal_frame_count
from ..trajectory.options import CameraPath
from .base import BackboneSpec
from .registry import BACKBONES

Coverage = Callable[[list[int]], list[float]]
"""Share of known pixels, in [0, 1], at frames of a path."""

CLIP_BYTES = 2e9
"""What a clip may take where the backbone sets no limit."""
BYTES_PER_PIXEL = 64
"""Renders, frames and confidence of a clip, and copies of them while they are made."""
UNEVENNESS = 0.1
"""Coverage that is given up to keep a clip from being twice as long as the mean."""


class Stretch(NamedTuple):
    """Frames of a path that are made together; neighbours share one frame."""

    first: int
    last: int
    """Included. A closed path ends at its first frame, which then has the number `len(path)`."""

    def frames(self, path: CameraPath) -> list[int]:
        """Which frames of the path they are."""
        return [frame % len(path) for frame in range(self.first, self.last + 1)]


def plan_clips(
    path: CameraPath, spec: BackboneSpec, names: Sequence[str], coverage: Coverage
) -> list[Stretch]:
    """Cut a path into clips that a backbone can make.

    There are as few clips as can be, and they pass through photos only where the backbone can meet
    them: anywhere, at both ends, or at the start. Where the path must be cut between photos, it is
    cut where most is known, since errors of the frame that two clips share live on in the second.

    Args:
        path: The whole path.
        spec: What the backbone can take.
        names: The photos' names, for error texts.
        coverage: Asked about frames at which the path may be cut, if there are any.

    Raises:
        BackboneMismatch: If a clip would have to end at a photo or at the first frame, or start
            without a photo, and the backbone cannot.
    """
    _check_ends(path, spec, names)
    end = _last_frame(path)
    if end == 0:
        return [Stretch(0, 0)]
    photos = (path.photo_index >= 0).nonzero()[:, 0].tolist()
    stops = sorted({0, end} if spec.keyframes == "any" else {0, end, *photos})
    longest = _longest_leg(path, spec)
    cuts = [0]
    for first, last in itertools.pairwise(stops):
        pieces = -(-(last - first) // longest)
        if path.loop and len(stops) == 2 and path.photo_index[0] < 0:
            # The first clip makes the very frame at which the last one ends.
            pieces = max(pieces, 2)
        if spec.max_frames is None:
            cuts += [first + (last - first) * piece // pieces for piece in range(1, pieces + 1)]
        else:
            cuts += _Cutter.of(first, last, pieces, longest, spec).best_cuts(coverage)
    return [Stretch(a, b) for a, b in itertools.pairwise(cuts)]


def _last_frame(path: CameraPath) -> int:
    return len(path) if path.loop and len(path) > 1 else len(path) - 1


def _longest_leg(path: CameraPath, spec: BackboneSpec) -> int:
    """The most steps from frame to frame that a clip may have."""
    if spec.max_frames is not None:
        return largest_legal_count(spec.max_frames, spec.frame_rule) - 1
    per_frame = path.cameras.width * path.cameras.height * BYTES_PER_PIXEL
    return max(1, int(CLIP_BYTES / per_frame) - 1)


@dataclass(frozen=True, slots=True)
class _Cutter:
    """Cuts one stretch between two frames that are given."""

    first: int
    last: int
    pieces: int
    shortest: int
    longest: int
    spec: BackboneSpec

    @staticmethod
    def of(first: int, last: int, pieces: int, longest: int, spec: BackboneSpec) -> "_Cutter":
        # Video models are trained on clips near their longest: none gets less than half the mean.
        shortest = max(1, (last - first) // (2 * pieces))
        return _Cutter(first, last, pieces, shortest, longest, spec)

    def best_cuts(self, coverage: Coverage) -> list[int]:
        """The ends of the pieces, by dynamic programming over where each may end."""
        windows = [self._window(piece) for piece in range(1, self.pieces)]
        frames = sorted({frame for window in windows for frame in window})
        known = dict(zip(frames, coverage(frames) if frames else [], strict=True))
        best: dict[int, tuple[float, list[int]]] = {self.first: (0.0, [])}
        for window in [*windows, [self.last]]:
            longer = {}
            for cut in window:
                worth = {
                    before: score + known.get(cut, 1.0) - self._cost(cut - before)
                    for before, (score, _) in best.items()
                    if self.shortest <= cut - before <= self.longest
                }
                before = max(worth, key=lambda start: worth[start])
                longer[cut] = worth[before], [*best[before][1], cut]
            best = longer
        return best[self.last][1]

    def _window(self, piece: int) -> range:
        """Where a piece may end so that those before and after it still fit."""
        left = self.pieces - piece
        low = max(self.first + piece * self.shortest, self.last - left * self.longest)
        high = min(self.first + piece * self.longest, self.last - left * self.shortest)
        return range(low, high + 1)

    def _cost(self, length: int) -> float:
        """What a piece's length costs, in coverage: frames made for nothing, and unevenness."""
        surplus = legal_frame_count(length + 1, self.spec.frame_rule) - length - 1
        mean = (self.last - self.first) / self.pieces
        return surplus / self.longest + UNEVENNESS * (length / mean - 1) ** 2


def _check_ends(path: CameraPath, spec: BackboneSpec, names: Sequence[str]) -> None:
    index = path.photo_index.tolist()
    later = [photo for photo in index[1:] if photo >= 0]
    if spec.keyframes == "first" and (later or _last_frame(path) == len(path)):
        able = [name for name, other in BACKBONES.items() if other.keyframes != "first"]
        where = f"comes to photo {later[0]} ({names[later[0]]})" if later else "is closed"
        raise BackboneMismatch(
            f"Backbone '{spec.name}' cannot take a last frame, and this path {where}. Choose "
            f"{', '.join(able)}, or an open path from one photo."
        )
    if spec.needs_first and index[0] < 0:
        able = [name for name, other in BACKBONES.items() if not other.needs_first]
        raise BackboneMismatch(
            f"Backbone '{spec.name}' needs a photo as its first frame, and this path starts at "
            f"none. Choose {', '.join(able)}, or a path of the kind 'interpolate'."
        )
