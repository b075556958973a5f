"""Where a path is cut into clips, and whether a backbone can make them."""

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import BackboneMismatch
from ..trajectory.options import CameraPath
from .base import BackboneSpec
from .registry import BACKBONES


class Stretch(NamedTuple):
    """Frames of a path that are made together; neighbours share one frame."""

    first: int
    last: int
    """Included."""


def plan_clips(path: CameraPath, spec: BackboneSpec, names: Sequence[str]) -> list[Stretch]:
    """Cut a path into clips that a backbone can make.

    A clip is as long as the backbone allows, and passes through photos only where the backbone can
    meet them: anywhere, at its two ends, or at its start.

    Args:
        path: The whole path.
        spec: What the backbone can take.
        names: The photos' names, for error texts.

    Raises:
        BackboneMismatch: If a clip would have to end at a photo, or start without one, and the
            backbone cannot.
    """
    end = len(path) - 1
    photos = (path.photo_index >= 0).nonzero()[:, 0].tolist()
    stops = {0, end} if spec.keyframes == "any" else {0, end, *photos}
    cuts = sorted(stops)
    clips = [Stretch(0, 0)] if end == 0 else []
    for first, last in zip(cuts, cuts[1:], strict=False):
        clips += _cut_evenly(first, last, spec.max_frames)
    _check_ends(path, clips, spec, names)
    return clips


def _cut_evenly(first: int, last: int, max_frames: int | None) -> list[Stretch]:
    pieces = 1 if max_frames is None else -(-(last - first) // (max_frames - 1))
    cuts = [first + (last - first) * piece // pieces for piece in range(pieces + 1)]
    return [Stretch(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]


def _check_ends(
    path: CameraPath, clips: list[Stretch], spec: BackboneSpec, names: Sequence[str]
) -> None:
    index = path.photo_index.tolist()
    if spec.keyframes == "first":
        for clip in clips:
            if clip.last > clip.first and index[clip.last] >= 0:
                able = [name for name, other in BACKBONES.items() if other.keyframes != "first"]
                raise BackboneMismatch(
                    f"Backbone '{spec.name}' cannot take a last frame, and this path comes to "
                    f"photo {index[clip.last]} ({names[index[clip.last]]}). Choose "
                    f"{', '.join(able)}, or a path from one photo."
                )
    if spec.needs_first and index[0] < 0:
        able = [name for name, other in BACKBONES.items() if not other.needs_first]
        raise BackboneMismatch(
            f"Backbone '{spec.name}' needs a photo as its first frame, and this path starts at "
            f"none. Choose {', '.join(able)}, or a path of the kind 'interpolate'."
        )
