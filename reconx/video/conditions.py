"""What a clip's request says, in the form in which video models take it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..ops.image import close_gaps, dilate
from ..types import PointRenders
from .base import ClipRequest, Keyframe

HOLE_CLOSING = 2
"""Known specks of up to twice this many pixels within holes are left out: speckle misleads video
models."""
HOLE_GROWTH = 2
"""Pixels by which holes grow: at silhouettes, renders mix two surfaces."""
GREY = 0.5
"""Shown where nothing is known; what Wan VACE was trained with."""


class ControlVideo(NamedTuple):
    """Renders with the keyframes in them: a clip as far as it is known."""

    frames: Float[Tensor, "frame height width 3"]
    """In [0, 1]; `GREY` where nothing is known."""
    known: Bool[Tensor, "frame height width"]
    """Pixels to keep; the others are to be made up."""


def make_control_video(request: ClipRequest) -> ControlVideo:
    """Lay a clip's keyframes over its point renders."""
    known = known_pixels(request.renders, request.keyframes)
    frames = request.renders.colour.clone()
    for keyframe in request.keyframes:
        frames[keyframe.index] = keyframe.image
    return ControlVideo(frames=torch.where(known[..., None], frames, GREY), known=known)


def known_pixels(
    renders: PointRenders, keyframes: Sequence[Keyframe] = ()
) -> Bool[Tensor, "frame height width"]:
    """Pixels that a video model shall keep: outside closed and slightly grown holes.

    A keyframe is known wherever it is valid.
    """
    known = ~dilate(close_gaps(renders.hole, HOLE_CLOSING), HOLE_GROWTH)
    for keyframe in keyframes:
        known[keyframe.index] = keyframe.valid
    return known
