"""The frame counts and sizes that a backbone can take."""

from ..trajectory.frame_rule import legal_frame_count
from ..types import Cameras
from .base import BackboneSpec

MAX_MULTIPLE = 256
"""Video models ask for sides that are multiples of at most this."""


def fit_size(width: int, height: int, multiple: int) -> tuple[int, int]:
    """The nearest sides that are multiples, and never 0."""
    return (
        max(multiple, round(width / multiple) * multiple),
        max(multiple, round(height / multiple) * multiple),
    )


def fit_cameras_to_spec(cameras: Cameras, spec: BackboneSpec) -> Cameras:
    """The nearest size a backbone can take, and the next legal count.

    Sizes are resampled, not cropped, so that the frames can be brought back whole; K follows.
    Missing frames rest at the last camera.
    """
    width, height = fit_size(cameras.width, cameras.height, spec.size_multiple)
    count = legal_frame_count(len(cameras), spec.frame_rule)
    if count > len(cameras):
        rest = [len(cameras) - 1] * (count - len(cameras))
        cameras = cameras[[*range(len(cameras)), *rest]]
    if (width, height) == (cameras.width, cameras.height):
        return cameras
    return cameras.resized(width, height)
