"""What every dataset on disk is."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..types import Photos


@runtime_checkable
class Dataset(Protocol):
    """Scenes of posed frames; opening one reads no picture."""

    def scenes(self) -> tuple[str, ...]:
        """Names in an order in which reading one after the other opens each file once."""
        ...

    def length(self, scene: str) -> int:
        """Count a scene's frames, which are numbered in the order of the video."""
        ...

    def read(self, scene: str, frames: Sequence[int]) -> Photos:
        """Some frames of a scene, undistorted, with their true cameras as prior.

        Raises:
            InputError: If there is no such frame, or a file is damaged; the text names it.
        """
        ...


@runtime_checkable
class DepthDataset(Dataset, Protocol):
    """A dataset that may know the depth of its frames too."""

    def read_depth(
        self, scene: str, frames: Sequence[int]
    ) -> list[Float[Tensor, "height width"]] | None:
        """z-depth of some frames in the world's units, 0 = unknown, each at its own size.

        None where the scene comes without.

        Raises:
            InputError: If there is no such frame, or a file is damaged.
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
