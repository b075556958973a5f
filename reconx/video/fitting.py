"""The frame counts and sizes that a backbone can take."""

from ..trajectory.frame_rule import legal_frame_count
from ..types import Cameras
from .base import BackboneSpec


def fit_cameras_to_spec(cameras: Cameras, spec: BackboneSpec) -> Cameras:
    """The nearest size a backbone can take, and the next legal count.

    Sizes are resampled, not cropped, so that the frames can be brought back whole; K follows.
    Missing frames rest at the last camera.
    """
    multiple = spec.size_multiple
    width, height = (
        max(multiple, round(side / multiple) * multiple) for side in (cameras.width, cameras.height)
    )
    count = legal_frame_count(len(cameras), spec.frame_rule)
    if count > len(cameras):
        rest = [len(cameras) - 1] * (count - len(cameras))
        cameras = cameras[[*range(len(cameras)), *rest]]
    if (width, height) == (cameras.width, cameras.height):
        return cameras
    return cameras.resized(width, height)
