"""RealEstate10K and ACID in the chunks of pixelSplat (github.com/dcharatan/pixelsplat).

A chunk is a list saved by torch: per scene a dict of its "key", its "images" as encoded bytes and
its "cameras", 18 numbers each: fx, fy, cx, cy as shares of the picture's width and height, two that
are not used, and the rows of the 3 x 4 world-to-camera matrix (OpenCV axes).
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..geometry.weights import read_weights
from ..ops.photos import with_known_cameras
from ..ops.se3 import invert_pose
from ..types import Photos
from .base import check_frames

_SOURCE = "where pixelSplat's README points to"


class ChunkFolder:
    """A folder of `.torch` files, one open at a time, and `index.json`: the file of each scene."""

    def __init__(self, root: Path, part: str = "test") -> None:
        """Read the list of scenes.

        Args:
            root: The folder, or the one above its parts.
            part: "test" or "train".

        Raises:
            InputError: If there is no such list, or it is damaged.
        """
        self._folder = root / part if (root / part).is_dir() else root
        self._files = _read_files(self._folder / "index.json")
        self._open: tuple[str, dict[str, dict[str, Any]]] = ("", {})

    def scenes(self) -> tuple[str, ...]:
        """Names, file by file."""
        return tuple(sorted(self._files, key=lambda scene: (self._files[scene], scene)))

    def length(self, scene: str) -> int:
        """Count a scene's frames.

        Raises:
            InputError: If the file is damaged.
            UnsafeCheckpoint: If reading the file would run code.
        """
        return len(self._example(scene)[2])

    def read(self, scene: str, frames: Sequence[int]) -> Photos:
        """Some frames of a scene with their true cameras as prior.

        Raises:
            InputError: If there is no such frame, or the file is damaged.
            UnsafeCheckpoint: If reading the file would run code.
        """
        place, images, cameras = self._example(scene)
        check_frames(scene, frames, len(cameras))
        pictures = [_decode(f"{place}, frame {frame}", images[frame]) for frame in frames]
        if len({picture.shape for picture in pictures}) > 1:
            raise InputError(f"{place}: its frames differ in size; expected one size.")
        photos = _as_photos(pictures, [f"frame-{frame}" for frame in frames])
        chosen = cameras[list(frames)].float()
        K = torch.eye(3).repeat(len(frames), 1, 1)
        K[:, [0, 1], [0, 1]] = chosen[:, :2]
        K[:, :2, 2] = chosen[:, 2:4]
        K[:, :2] *= torch.tensor([photos.width, photos.height])[:, None]
        return with_known_cameras(photos, K, _poses(place, chosen[:, 6:]))

    def _example(self, scene: str) -> tuple[str, list[Tensor], Float[Tensor, "frame 18"]]:
        """Where a scene stands, its encoded pictures and its cameras."""
        file = self._files[scene]
        if self._open[0] != file:
            self._open = (file, _read_chunk(self._folder / file))
        place = f"'{self._folder / file}', scene '{scene}'"
        return place, *_check_example(place, self._open[1].get(scene))


def _read_files(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise InputError(
            f"'{path}' does not exist; expected the list that comes with pixelSplat's chunks. Give "
            "the folder that holds it."
        )
    try:
        files = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not JSON ({error}). Download it again.") from error
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise InputError(f"'{path}' is no list of files by scene; expected pixelSplat's.")
    return files


def _read_chunk(path: Path) -> dict[str, dict[str, Any]]:
    """The scenes of a file, whose pictures stay on disk until they are asked for."""
    if not path.is_file():
        raise InputError(f"Chunk '{path}' does not exist. Download it, or leave its scenes out.")
    chunk = read_weights(path, _SOURCE, "Chunk")
    if not isinstance(chunk, list) or not all(
        isinstance(example, dict) and isinstance(example.get("key"), str) for example in chunk
    ):
        raise InputError(
            f"Chunk '{path}' holds no list of scenes with keys; expected pixelSplat's."
        )
    return {example["key"]: example for example in chunk}


def _check_example(
    place: str, example: dict[str, Any] | None
) -> tuple[list[Tensor], Float[Tensor, "frame 18"]]:
    if example is None:
        raise InputError(f"{place}: it is not in this file; expected it by index.json.")
    images, cameras = example.get("images"), example.get("cameras")
    if (
        not isinstance(images, list)
        or not isinstance(cameras, Tensor)
        or cameras.shape != (len(images), 18)
        or not images
    ):
        found = tuple(cameras.shape) if isinstance(cameras, Tensor) else type(cameras).__name__
        count = len(images) if isinstance(images, list) else type(images).__name__
        raise InputError(
            f"{place}: it has {count} images and cameras of {found}; expected a list of encoded "
            "images and 18 numbers for each."
        )
    return images, cameras


def _decode(place: str, data: object) -> Float[Tensor, "height width 3"]:
    if not isinstance(data, Tensor) or data.dtype != torch.uint8 or data.ndim != 1:
        raise InputError(f"{place}: its image is no row of bytes; expected an encoded picture.")
    try:
        with Image.open(io.BytesIO(data.numpy().tobytes())) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    except (OSError, SyntaxError) as error:
        raise InputError(f"{place}: its image is damaged or empty ({error}).") from error
    return torch.from_numpy(pixels)


def _as_photos(pictures: Sequence[Float[Tensor, "height width 3"]], names: Sequence[str]) -> Photos:
    """Frames of a video, of which two may be alike: the video stood still."""
    images = torch.stack(list(pictures))
    height, width = images.shape[1:3]
    return Photos(
        images=images,
        valid=torch.ones(images.shape[:3], dtype=torch.bool),
        names=tuple(names),
        original_sizes=((width, height),) * len(images),
        to_original=torch.eye(3).repeat(len(images), 1, 1),
    )


def _poses(place: str, rows: Float[Tensor, "frame 12"]) -> Float[Tensor, "frame 4 4"]:
    viewmats = torch.eye(4).repeat(len(rows), 1, 1)
    viewmats[:, :3] = rows.unflatten(1, (3, 4))
    rotation = viewmats[:, :3, :3]
    if not torch.allclose(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-3):
        raise InputError(f"{place}: a camera is no rigid pose; expected world-to-camera matrices.")
    return invert_pose(viewmats)
