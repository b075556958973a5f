"""What every dataset on disk is."""

from collections.abc import Sequence
from typing import Protocol

from ...errors import InputError
from ...types import Photos


class Dataset(Protocol):
    """Scenes of posed frames; opening one reads no picture."""

    def scenes(self) -> tuple[str, ...]:
        """Names in an order in which reading one after the other opens each file once."""
        ...

    def read(self, scene: str, frames: Sequence[int]) -> Photos:
        """Some frames of a scene, undistorted, with their true cameras as prior.

        Raises:
            InputError: If there is no such frame, or a file is damaged; the text names it.
        """
        ...


def check_frames(scene: str, frames: Sequence[int], count: int) -> None:
    """Require numbers of frames that a scene has.

    Raises:
        InputError: If one is beyond the end.
    """
    if max(frames) >= count:
        raise InputError(
            f"Scene '{scene}' has {count} frames, but the index asks for frame {max(frames)}. The "
            "index belongs to another version of the dataset, or the scene is cut."
        )
