"""Videos and photos of one's own with known cameras: a folder per scene, or one scene alone.

Frames are numbered in order of their file names, as programs that cut a video into pictures name
them.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..export.posed import PosedPhotos, read_depth
from ..photos.loading import PhotoOptions
from ..types import Photos
from .base import check_frames
from .posed import is_posed, load_posed, read_posed


class PosedFolders:
    """Folders in the layout of nerfstudio or COLMAP; the first may come with depth pictures."""

    def __init__(self, root: Path) -> None:
        """List the scenes.

        Args:
            root: A scene, or the folder whose folders are scenes.

        Raises:
            InputError: If there is none.
        """
        inside = sorted(root.iterdir()) if root.is_dir() else []
        folders = [root] if is_posed(root) else [path for path in inside if is_posed(path)]
        self._folders = {folder.name: folder for folder in folders}
        if not folders:
            raise InputError(
                f"'{root}' holds no posed photos, nor does a folder in it; expected a "
                "transforms.json (nerfstudio) or a COLMAP model in 'sparse/0'."
            )

    def scenes(self) -> tuple[str, ...]:
        """Names in their order."""
        return tuple(self._folders)

    def length(self, scene: str) -> int:
        """Count a scene's frames."""
        return len(self._posed[scene].paths)

    def read(self, scene: str, frames: Sequence[int]) -> Photos:
        """Some frames of a scene, undistorted, with their true cameras as prior.

        Raises:
            InputError: If there is no such frame, or a file is missing or damaged.
        """
        return load_posed(self._chosen(scene, frames), PhotoOptions())

    def read_depth(
        self, scene: str, frames: Sequence[int]
    ) -> list[Float[Tensor, "height width"]] | None:
        """z-depth in world units, 0 = unknown; None where the folder has no depth pictures.

        Raises:
            InputError: If there is no such frame, a file is damaged, or lenses distort: the
                depth would not belong to the undistorted photos.
        """
        posed = self._chosen(scene, frames)
        if posed.depths is None:
            return None
        if posed.distorted:
            raise InputError(
                f"Scene '{self._folders[scene]}' has depth pictures of photos with lens "
                "distortion; expected undistorted ones. Undistort both, or train without its depth."
            )
        return [read_depth(posed, index) for index in range(len(posed.paths))]

    @cached_property
    def _posed(self) -> "_PosedScenes":
        return _PosedScenes(self._folders)

    def _chosen(self, scene: str, frames: Sequence[int]) -> PosedPhotos:
        posed = self._posed[scene]
        check_frames(scene, frames, len(posed.paths))
        return _select(posed, frames)


class _PosedScenes(dict[str, PosedPhotos]):
    """Cameras by scene, in order of file names; each file is read once."""

    def __init__(self, folders: dict[str, Path]) -> None:
        super().__init__()
        self._folders = folders

    def __missing__(self, scene: str) -> PosedPhotos:
        posed = read_posed(self._folders[scene])
        assert posed is not None, "the folder was listed"
        order = sorted(range(len(posed.paths)), key=lambda index: posed.paths[index].name)
        self[scene] = _select(posed, order)
        return self[scene]


def _select(posed: PosedPhotos, chosen: Sequence[int]) -> PosedPhotos:
    """Some of the photos with all that belongs to them."""
    parts = {
        name: tuple(values[index] for index in chosen)
        for name in ("paths", "cameras", "lenses", "masks", "depths")
        if (values := getattr(posed, name)) is not None
    }
    return replace(posed, **parts)
