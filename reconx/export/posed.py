"""Photo files and the cameras that took them: what every format of posed photos shares.

Owns the pictures, masks and depth pictures; the formats' own files lie beside this one.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..types import Cameras, LensDistortion, Photos
from .pictures import photo_rectangle, write_picture

_WRITABLE = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class PosedPhotos:
    """Photo files and where they were taken."""

    paths: tuple[Path, ...]
    """The picture files."""
    cameras: tuple[Cameras, ...]
    """One pinhole camera per file, at the file's own size."""
    lenses: tuple[LensDistortion, ...] | None = None
    """What bends each file away from its pinhole camera; None if nothing does."""
    masks: tuple[Path, ...] | None = None
    """One mask per file, white = used; None if all photos are used whole."""
    depths: tuple[Path, ...] | None = None
    """One 16-bit picture of z-depth per file, 0 = unknown; None if there are none."""
    depth_unit: float = 0.001
    """World units per step of a depth picture."""

    def __post_init__(self) -> None:
        """Check the counts."""
        counts = [len(self.paths), len(self.cameras)]
        optional = (self.lenses, self.masks, self.depths)
        counts += [len(files) for files in optional if files is not None]
        if len(set(counts)) != 1:
            raise InputError(
                f"Posed photos came as {counts} files, cameras, lenses, masks or depths; "
                "expected one of each."
            )

    @property
    def distorted(self) -> bool:
        """Whether any file shows lens distortion."""
        return any(lens.bends for lens in self.lenses or ())

    @property
    def names(self) -> tuple[str, ...]:
        """File names without folders."""
        return tuple(path.name for path in self.paths)


def write_photos(folder: Path, photos: Photos, cameras: Cameras) -> PosedPhotos:
    """Write `images/` and, where pixels are not valid, `masks/` (named `<file name>.png`).

    Every photo is cut to its own rectangle, without padding. Files keep their names; a format that
    is not written gets `.png` appended.

    Args:
        folder: Where the files go.
        photos: Undistorted photos.
        cameras: Their cameras in world space, at their resolution.

    Returns:
        The files, and the cameras cut like the photos.

    Raises:
        InputError: If cameras and photos differ in count or size.
    """
    if (len(cameras), cameras.width, cameras.height) != (len(photos), photos.width, photos.height):
        raise InputError(
            f"{len(cameras)} cameras of {cameras.width} x {cameras.height} pixels cannot belong to "
            f"{len(photos)} photos of {photos.width} x {photos.height}."
        )
    paths, masks, cut_cameras = [], [], []
    for index, name in enumerate(photos.names):
        left, top, right, bottom = photo_rectangle(photos, index)
        keeps = Path(name).suffix.lower() in _WRITABLE
        paths.append(folder / "images" / (name if keeps else f"{name}.png"))
        write_picture(paths[-1], photos.images[index, top:bottom, left:right])
        masks.append(photos.valid[index, top:bottom, left:right, None].float())
        K = cameras.K[[index]].clone()
        K[0, :2, 2] -= torch.tensor([left, top]).to(K)
        poses = cameras.camera_to_world[[index]]
        cut_cameras.append(
            Cameras(camera_to_world=poses, K=K, width=right - left, height=bottom - top)
        )
    mask_paths = None
    if not all(mask.all() for mask in masks):  # nerfstudio wants masks for all photos or for none
        mask_paths = tuple(folder / "masks" / f"{path.name}.png" for path in paths)
        for path, mask in zip(mask_paths, masks, strict=True):
            write_picture(path, mask)
    return PosedPhotos(paths=tuple(paths), cameras=tuple(cut_cameras), masks=mask_paths)


def read_depth(posed: PosedPhotos, index: int) -> Float[Tensor, "height width"]:
    """Z-depth of one photo in world units, 0 where unknown, at the depth picture's own size.

    Raises:
        InputError: If there is no depth, or the file cannot be read.
    """
    if posed.depths is None:
        raise InputError(f"'{posed.paths[index]}' has no depth picture; expected one.")
    try:
        with Image.open(posed.depths[index]) as image:
            steps = np.asarray(image, dtype=np.float32)
    except OSError as error:
        raise InputError(f"Depth '{posed.depths[index]}' cannot be read ({error}).") from error
    return torch.from_numpy(steps * np.float32(posed.depth_unit))
