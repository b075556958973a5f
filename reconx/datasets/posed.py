"""Folders of posed photos, whichever program wrote them: nerfstudio's or COLMAP's layout."""

from dataclasses import replace
from pathlib import Path

import torch

from ..errors import InputError
from ..export.colmap import find_colmap_model, read_colmap
from ..export.nerfstudio import read_transforms
from ..export.posed import PosedPhotos
from ..ops.distortion import undistort_photos
from ..ops.photos import with_known_cameras
from ..photos.loading import PhotoOptions, load_photos
from ..types import Cameras, Photos

TRANSFORMS = "transforms.json"
"""nerfstudio's file."""


def is_posed(folder: Path) -> bool:
    """Whether a folder holds posed photos, without looking into files."""
    return (folder / TRANSFORMS).is_file() or find_colmap_model(folder) is not None


def read_posed(folder: Path) -> PosedPhotos | None:
    """The photos of a folder and where they were taken; None if it holds neither layout.

    Raises:
        InputError: If a file is damaged.
    """
    if (folder / TRANSFORMS).is_file():
        return read_transforms(folder)
    if find_colmap_model(folder) is not None:
        return read_colmap(folder).posed
    return None


def load_posed(posed: PosedPhotos, options: PhotoOptions) -> Photos:
    """The photos as their pinhole cameras would have taken them, with these cameras as prior.

    Raises:
        InputError: If a file cannot be used, or its size is not its camera's.
    """
    photos = load_photos(posed.paths, options=replace(options, masks=posed.masks))
    for name, size, camera in zip(photos.names, photos.original_sizes, posed.cameras, strict=True):
        if size != (camera.width, camera.height):
            raise InputError(
                f"Photo {name} has {size[0]} x {size[1]} pixels, but its camera has "
                f"{camera.width} x {camera.height}. Scale or turn one of them to match the other."
            )
    K = torch.linalg.inv(photos.to_original) @ torch.cat([camera.K for camera in posed.cameras])
    poses = torch.cat([camera.camera_to_world for camera in posed.cameras])
    if posed.lenses is not None and posed.distorted:
        cameras = Cameras(camera_to_world=poses, K=K, width=photos.width, height=photos.height)
        photos = undistort_photos(photos, cameras, posed.lenses)
    return with_known_cameras(photos, K, poses)
