"""Posed photos and points as a COLMAP model, and back.

The layout is COLMAP's: `images/` and a model in `sparse/0`, of cameras, images and points3D in
little-endian binary files (colmap.github.io/format.html). COLMAP's conventions are ours but for the
poses, which are world to camera there, as quaternion wxyz and translation: camera axes are
OpenCV's, and pixel centres lie at +0.5.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape
from ..errors import InputError
from ..ops.quaternion import matrix_to_quaternion, quaternion_to_matrix
from ..ops.se3 import invert_pose
from ..types import Cameras, LensDistortion, Photos
from .atomic import replacing
from .lens_models import LENS_MODELS, lens_distortion
from .posed import PosedPhotos, write_photos

_NAMES = {model.number: name for name, model in LENS_MODELS.items()}
_COUNT = struct.Struct("<Q")
_CAMERA = struct.Struct("<IiQQ")  # number, model, width, height
_IMAGE = struct.Struct("<I7dI")  # number, qw qx qy qz, tx ty tz, camera
_POINT = struct.Struct("<Q3d3BdQ")  # number, x y z, r g b, error, length of the track
_FEATURE_BYTES = 24  # x, y and a point's number
_SIGHTING_BYTES = 8  # an image's number and the place of the feature in it
_UNKNOWN_ERROR = -1.0

_T = TypeVar("_T")


class _Camera(NamedTuple):
    model: str
    width: int
    height: int
    parameters: tuple[float, ...]

    @property
    def named(self) -> dict[str, float]:
        """The parameters by their names."""
        return dict(zip(LENS_MODELS[self.model].parameters, self.parameters, strict=True))


class _Image(NamedTuple):
    name: str
    pose: tuple[float, ...]
    """qw qx qy qz, tx ty tz: world to camera."""
    camera: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColmapModel:
    """What we read of a COLMAP model; tracks are not kept."""

    posed: PosedPhotos
    """Photo files in the order of their numbers, and their cameras."""
    points: Float[Tensor, "n 3"]
    """World."""
    colours: Float[Tensor, "n 3"]
    """In [0, 1]."""


def write_colmap(
    folder: str | Path,
    photos: Photos,
    cameras: Cameras,
    points: Float[Tensor, "n 3"],
    colours: Float[Tensor, "n 3"],
) -> PosedPhotos:
    """Write `images/`, `masks/` where pixels are not valid, and `sparse/0/*.bin`.

    Every photo gets a PINHOLE camera of its own. Points have no tracks: each was seen by the photo
    whose pointmap holds it, and a track of one photo would be no evidence.

    Args:
        folder: Where the files go.
        photos: Undistorted photos.
        cameras: Their cameras in world space, at their resolution.
        points: In world space.
        colours: sRGB in [0, 1].

    Raises:
        InputError: If cameras and photos, or points and colours, do not fit together.
    """
    check_shape("Point colours", colours, len(points), 3)
    folder = Path(folder)
    posed = write_photos(folder, photos, cameras)
    camera_rows, image_rows = [], []
    for number, (path, camera) in enumerate(zip(posed.paths, posed.cameras, strict=True), start=1):
        K = camera.K[0].tolist()
        pinhole = LENS_MODELS["PINHOLE"].number
        camera_rows.append(_CAMERA.pack(number, pinhole, camera.width, camera.height))
        camera_rows.append(struct.pack("<4d", K[0][0], K[1][1], K[0][2], K[1][2]))
        viewmat = invert_pose(camera.camera_to_world[0].double())
        quaternion = matrix_to_quaternion(viewmat[:3, :3]).tolist()
        image_rows.append(_IMAGE.pack(number, *quaternion, *viewmat[:3, 3].tolist(), number))
        image_rows.append(path.name.encode() + b"\0" + _COUNT.pack(0))
    rgb = (colours.clamp(0, 1) * 255).round().byte().tolist()
    point_rows = [
        _POINT.pack(number, *point, *colour, _UNKNOWN_ERROR, 0)
        for number, (point, colour) in enumerate(zip(points.tolist(), rgb, strict=True), start=1)
    ]
    model = folder / "sparse" / "0"
    for name, count, rows in (
        ("cameras.bin", len(posed.paths), camera_rows),
        ("images.bin", len(posed.paths), image_rows),
        ("points3D.bin", len(points), point_rows),
    ):
        with replacing(model / name) as temporary:
            temporary.write_bytes(_COUNT.pack(count) + b"".join(rows))
    return posed


def find_colmap_model(folder: Path) -> Path | None:
    """The folder of a model's own files, where COLMAP or its users put it; None if there is none.

    Args:
        folder: Holds `images/` and the model, in `sparse/0`, `sparse` or the folder itself.
    """
    for place in (folder / "sparse" / "0", folder / "sparse", folder):
        if any((place / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
            return place
    return None


def read_colmap(folder: str | Path) -> ColmapModel:
    """Read a model in binary or text form, with its photo files in `images/` and their `masks/`.

    Masks count if every photo has one, named `<file name>.png`.

    Raises:
        InputError: If a file is missing, cut short or no COLMAP file, or a lens model is unknown.
    """
    folder = Path(folder)
    model = find_colmap_model(folder)
    if model is None:
        raise InputError(
            f"'{folder}' holds no COLMAP model; expected cameras.bin or cameras.txt in 'sparse/0', "
            "'sparse' or the folder itself."
        )
    if (model / "cameras.bin").is_file():
        cameras = _read(model / "cameras.bin", _cameras_of_bytes)
        images = _read(model / "images.bin", _images_of_bytes)
        points = _read(model / "points3D.bin", _points_of_bytes)
    else:
        cameras = _read(model / "cameras.txt", _cameras_of_text)
        images = _read(model / "images.txt", _images_of_text)
        points = _read(model / "points3D.txt", _points_of_text)
    posed = [images[number] for number in sorted(images)]
    taken = [(_camera_of(model, cameras, image), image) for image in posed]
    masks = tuple(folder / "masks" / f"{image.name}.png" for image in posed)
    return ColmapModel(
        posed=PosedPhotos(
            paths=tuple(folder / "images" / image.name for image in posed),
            cameras=tuple(_as_pinhole(camera, image) for camera, image in taken),
            lenses=tuple(_as_lens(camera) for camera, _ in taken),
            masks=masks if all(path.is_file() for path in masks) else None,
        ),
        points=torch.from_numpy(points[:, :3].astype(np.float32)),
        colours=torch.from_numpy((points[:, 3:] / 255).astype(np.float32)),
    )


def _read(path: Path, decode: Callable[[bytes], _T]) -> _T:
    if not path.is_file():
        raise InputError(
            f"'{path}' does not exist; a COLMAP model has cameras, images and points3D."
        )
    try:
        return decode(path.read_bytes())
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error
    except (struct.error, ValueError) as error:
        raise InputError(
            f"'{path}' cannot be read ({error}). Expected a whole COLMAP file."
        ) from error


def _camera_of(model: Path, cameras: dict[int, _Camera], image: _Image) -> _Camera:
    if image.camera not in cameras:
        raise InputError(
            f"'{model}': image '{image.name}' has camera {image.camera}, which is missing."
        )
    return cameras[image.camera]


def _as_pinhole(camera: _Camera, image: _Image) -> Cameras:
    """The camera without its distortion."""
    named = camera.named
    fx, fy = (named.get(name, named.get("f")) for name in ("fx", "fy"))
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = quaternion_to_matrix(torch.tensor(image.pose[:4], dtype=torch.float64))
    pose[:3, 3] = torch.tensor(image.pose[4:], dtype=torch.float64)
    return Cameras(
        camera_to_world=invert_pose(pose).float()[None],
        K=torch.tensor([[[fx, 0, named["cx"]], [0, fy, named["cy"]], [0, 0, 1]]]),
        width=camera.width,
        height=camera.height,
    )


def _as_lens(camera: _Camera) -> LensDistortion:
    return lens_distortion(camera.named, fisheye="FISHEYE" in camera.model)


def _check_model(camera: int, model: str) -> None:
    if model not in LENS_MODELS:
        raise InputError(
            f"camera {camera} has lens model {model}; expected one of {', '.join(LENS_MODELS)}. "
            "Undistort the photos first, with colmap image_undistorter."
        )


def _cameras_of_bytes(content: bytes) -> dict[int, _Camera]:
    (count,) = _COUNT.unpack_from(content)
    cameras, at = {}, _COUNT.size
    for _ in range(count):
        number, model, width, height = _CAMERA.unpack_from(content, at)
        name = _NAMES.get(model, str(model))
        _check_model(number, name)
        count = len(LENS_MODELS[name].parameters)
        parameters = struct.unpack_from(f"<{count}d", content, at + _CAMERA.size)
        cameras[number] = _Camera(name, width, height, parameters)
        at += _CAMERA.size + 8 * len(parameters)
    return cameras


def _images_of_bytes(content: bytes) -> dict[int, _Image]:
    (count,) = _COUNT.unpack_from(content)
    images, at = {}, _COUNT.size
    for _ in range(count):
        number, *pose, camera = _IMAGE.unpack_from(content, at)
        end = content.index(b"\0", at + _IMAGE.size)
        name = content[at + _IMAGE.size : end].decode()
        images[number] = _Image(name, tuple(pose), camera)
        (features,) = _COUNT.unpack_from(content, end + 1)
        at = end + 1 + _COUNT.size + features * _FEATURE_BYTES
    return images


def _points_of_bytes(content: bytes) -> Float[np.ndarray, "n 6"]:
    (count,) = _COUNT.unpack_from(content)
    points, at = [], _COUNT.size
    for _ in range(count):
        _, *point, _, track = _POINT.unpack_from(content, at)
        points.append(point)
        at += _POINT.size + track * _SIGHTING_BYTES
    return np.array(points).reshape(-1, 6)


def _lines(content: bytes) -> list[str]:
    return [line for line in content.decode().splitlines() if not line.startswith("#")]


def _cameras_of_text(content: bytes) -> dict[int, _Camera]:
    cameras = {}
    for line in _lines(content):
        number, model, width, height, *parameters = line.split()
        _check_model(int(number), model)
        if len(parameters) != len(LENS_MODELS[model].parameters):
            raise ValueError(f"camera {number} has {len(parameters)} parameters")
        numbers = tuple(map(float, parameters))
        cameras[int(number)] = _Camera(model, int(width), int(height), numbers)
    return cameras


def _images_of_text(content: bytes) -> dict[int, _Image]:
    images = {}
    for line in _lines(content)[::2]:  # every other line, which may be empty, lists features
        number, *pose, camera, name = line.split(maxsplit=9)
        images[int(number)] = _Image(name, tuple(map(float, pose)), int(camera))
    return images


def _points_of_text(content: bytes) -> Float[np.ndarray, "n 6"]:
    rows = [line.split()[1:7] for line in _lines(content)]
    return np.array(rows, dtype=np.float64).reshape(-1, 6)
