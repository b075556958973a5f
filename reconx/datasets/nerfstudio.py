"""DL3DV in nerfstudio's format: a folder per scene with `transforms.json` and pictures.

Frames are numbered in order of their file names. DL3DV keeps the pictures at several sizes, in
`images`, `images_2`, `images_4` and `images_8`, and names those of `images` even where these were
not downloaded; the largest that are there are taken.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..export.nerfstudio import read_transforms
from ..export.posed import PosedPhotos
from ..photos.decoding import open_image
from ..photos.loading import PhotoOptions
from ..types import Photos
from .base import check_frames
from .posed import load_posed

_INSIDE = ("", "nerfstudio")


class NerfstudioFolders:
    """A folder of scenes."""

    def __init__(self, root: Path) -> None:
        """List the scenes.

        Args:
            root: Its folders are the scenes; in each, or in its `nerfstudio`, lies the file.

        Raises:
            InputError: If there is none.
        """
        self._files = {
            folder.name: folder / inside / "transforms.json"
            for folder in sorted(root.iterdir() if root.is_dir() else [])
            for inside in _INSIDE
            if (folder / inside / "transforms.json").is_file()
        }
        if not self._files:
            raise InputError(
                f"'{root}' holds no folder with a transforms.json; expected one per scene."
            )

    def scenes(self) -> tuple[str, ...]:
        """Names in their order."""
        return tuple(self._files)

    def length(self, scene: str) -> int:
        """Count a scene's frames."""
        return len(read_transforms(self._files[scene]).paths)

    def read(self, scene: str, frames: Sequence[int]) -> Photos:
        """Some frames of a scene, undistorted, with their true cameras as prior.

        Raises:
            InputError: If there is no such frame, or a file is missing or damaged.
        """
        posed = read_transforms(self._files[scene])
        check_frames(scene, frames, len(posed.paths))
        order = sorted(range(len(posed.paths)), key=lambda index: posed.paths[index].name)
        return load_posed(_select(posed, [order[frame] for frame in frames]), PhotoOptions())


def _select(posed: PosedPhotos, chosen: Sequence[int]) -> PosedPhotos:
    """Some of the photos at the size that is on disk; masks and depths are not part of this."""
    paths = [_largest(posed.paths[index]) for index in chosen]
    cameras = []
    for path, index in zip(paths, chosen, strict=True):
        with open_image(path) as image:
            width, height = image.size
        camera = posed.cameras[index]
        if abs(width * camera.height - height * camera.width) > 4 * max(width, height):
            raise InputError(
                f"Photo '{path}' has {width} x {height} pixels and its camera {camera.width} x "
                f"{camera.height}: another shape. Expected the same."
            )
        cameras.append(camera.resized(width, height))
    lenses = posed.lenses and tuple(posed.lenses[index] for index in chosen)
    return replace(
        posed, paths=tuple(paths), cameras=tuple(cameras), lenses=lenses, masks=None, depths=None
    )


def _largest(path: Path) -> Path:
    """The picture, or a smaller copy of it where it was not downloaded; itself if there is none."""
    smaller = [path.parent.with_name(f"{path.parent.name}_{factor}") for factor in (2, 4, 8)]
    copies = (path, *(folder / path.name for folder in smaller))
    return next((file for file in copies if file.is_file()), path)
