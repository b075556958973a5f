"""Posed photos as nerfstudio's `transforms.json`, and back.

Cameras are given and returned in our conventions and in world space (`Scene.world_from_scene` has
been applied); in the file the axes are OpenGL's. Both place pixel centres at +0.5.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape
from ..errors import InputError
from ..types import Cameras, LensDistortion, Photos
from .atomic import write_text
from .lens_models import lens_distortion
from .posed import PosedPhotos, write_photos

_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL")
"""nerfstudio reads all of them alike: what a frame does not name is 0."""
_FISHEYE = "OPENCV_FISHEYE"
_OPENGL_AXES = torch.tensor([1.0, -1.0, -1.0, 1.0])
"""Flips Y and Z of a camera's own axes: from OpenCV to OpenGL, and back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which photos go in and which are scored, of `splits.json`."""

    context: tuple[str, ...]
    """File names of the photos to reconstruct from."""
    targets: tuple[str, ...]
    """File names of the photos to compare with; empty if there are none."""


def write_posed_photos(
    folder: str | Path, photos: Photos, cameras: Cameras, *, ply_file_path: str | None = None
) -> PosedPhotos:
    """Write `transforms.json` and the pictures and masks it names; see `write_photos`.

    Args:
        folder: Where the files go.
        photos: Undistorted photos.
        cameras: Their cameras in world space, at their resolution.
        ply_file_path: A point cloud to start from, relative to the folder.

    Raises:
        InputError: If cameras and photos differ in count or size.
    """
    folder = Path(folder)
    posed = write_photos(folder, photos, cameras)
    write_transforms(folder / "transforms.json", posed, ply_file_path=ply_file_path)
    return posed


def write_transforms(
    path: str | Path, posed: PosedPhotos, *, ply_file_path: str | None = None
) -> None:
    """Write the cameras of photo files; paths inside are relative to the file's folder."""
    base = Path(path).absolute().parent

    def relative(file: Path) -> str:
        file = file.absolute()
        return (file.relative_to(base) if file.is_relative_to(base) else file).as_posix()

    frames = []
    for index, camera in enumerate(posed.cameras):
        K, pose = camera.K[0].tolist(), (camera.camera_to_world[0] * _OPENGL_AXES).tolist()
        frame = {
            "file_path": relative(posed.paths[index]),
            "fl_x": K[0][0],
            "fl_y": K[1][1],
            "cx": K[0][2],
            "cy": K[1][2],
            "w": camera.width,
            "h": camera.height,
            "transform_matrix": pose,
        }
        if posed.masks is not None:
            frame["mask_path"] = relative(posed.masks[index])
        frames.append(frame)
    document: dict[str, Any] = {"camera_model": "PINHOLE", "frames": frames}
    if ply_file_path is not None:
        document["ply_file_path"] = ply_file_path
    write_text(path, json.dumps(document, indent=1) + "\n")


def read_transforms(path: str | Path) -> PosedPhotos:
    """Read the cameras of photo files; intrinsics may stand per frame or once for all.

    Args:
        path: A `transforms.json`, or the folder that holds one.

    Raises:
        InputError: If the file is missing or no such file, or a value is missing or wrong; the
            text names the frame and the key.
    """
    path = Path(path)
    path = path / "transforms.json" if path.is_dir() else path
    document = _read_json(path)
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise InputError(f"'{path}' has no list 'frames'; expected nerfstudio's transforms.json.")
    paths, cameras, lenses = [], [], []
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise InputError(f"'{path}', frame {index}: 'file_path' is missing; expected a file.")
        place = f"'{path}', frame {index} ({frame['file_path']})"
        paths.append(path.parent / frame["file_path"])
        values = {**document, **frame}
        cameras.append(_read_camera(place, values))
        lenses.append(_read_lens(place, values))
    return PosedPhotos(
        paths=tuple(paths),
        cameras=tuple(cameras),
        lenses=tuple(lenses),
        masks=_read_files(path, frames, "mask_path"),
        depths=_read_files(path, frames, "depth_file_path"),
        depth_unit=float(document.get("depth_unit_scale_factor", 0.001)),
    )


def _read_files(path: Path, frames: list[dict[str, Any]], key: str) -> tuple[Path, ...] | None:
    """A file per frame, or None where no frame has one."""
    files = [path.parent / frame[key] for frame in frames if isinstance(frame.get(key), str)]
    if files and len(files) != len(frames):
        raise InputError(
            f"'{path}': {len(files)} of {len(frames)} frames have a '{key}'; expected all or none."
        )
    return tuple(files) or None


def read_splits(path: str | Path) -> dict[str, Split]:
    """Read which photos go in and which are scored, by split name.

    Args:
        path: A `splits.json`, or the folder that holds one.

    Raises:
        InputError: If the file is missing or a split names fewer than two context photos.
    """
    path = Path(path)
    path = path / "splits.json" if path.is_dir() else path
    splits = {}
    for name, split in _read_json(path).items():
        place = f"'{path}', split '{name}'"
        context = _read_names(place, split, "context")
        if len(context) < 2:
            raise InputError(
                f"{place}: 'context' names {len(context)} photos; expected at least two."
            )
        splits[name] = Split(context=context, targets=_read_names(place, split, "targets"))
    return splits


def _read_names(place: str, split: Any, key: str) -> tuple[str, ...]:
    names = split.get(key, []) if isinstance(split, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{place}: '{key}' is no list of file names; expected one.")
    return tuple(names)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"'{path}' does not exist. Check the path.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not JSON ({error}).") from error
    if not isinstance(document, dict):
        raise InputError(f"'{path}' holds no JSON object; expected one.")
    return document


def _read_camera(place: str, values: Mapping[str, Any]) -> Cameras:
    """One camera from a frame's values over the document's."""
    fl_x = _read_number(place, values, "fl_x", positive=True)
    fl_y = _read_number(place, values, "fl_y", positive=True) if "fl_y" in values else fl_x
    cx, cy = (_read_number(place, values, key) for key in ("cx", "cy"))
    return Cameras(
        camera_to_world=_read_pose(place, values.get("transform_matrix"))[None],
        K=torch.tensor([[[fl_x, 0, cx], [0, fl_y, cy], [0, 0, 1]]]),
        width=round(_read_number(place, values, "w", positive=True)),
        height=round(_read_number(place, values, "h", positive=True)),
    )


def _read_lens(place: str, values: Mapping[str, Any]) -> LensDistortion:
    """One lens from a frame's values over the document's.

    Of the perspective models' k4, nerfstudio makes the factor of r^8 in one place and refuses it in
    another; its fisheye knows no p1 and p2.
    """
    model = values.get("camera_model", "OPENCV")
    if model not in (*_PERSPECTIVE, _FISHEYE):
        raise InputError(
            f"{place}: 'camera_model' is {model}; expected {', '.join(_PERSPECTIVE)} or {_FISHEYE}."
            " Undistort the photos first."
        )
    fisheye = model == _FISHEYE
    numbers = {key: _read_number(place, values, key) for key in _DISTORTION if key in values}
    for key in ("p1", "p2") if fisheye else ("k4",):
        if numbers.get(key):
            raise InputError(
                f"{place}: lens distortion '{key}' is {numbers[key]:g}; expected 0 for "
                f"'camera_model' {model}. Undistort the photos first."
            )
    return lens_distortion(numbers, fisheye=fisheye)


def _read_number(
    place: str, values: Mapping[str, Any], key: str, *, positive: bool = False
) -> float:
    value = values.get(key)
    if not isinstance(value, int | float) or not math.isfinite(value) or (positive and value <= 0):
        raise InputError(
            f"{place}: '{key}' is {'missing' if value is None else value}; expected a "
            f"{'positive ' if positive else ''}number."
        )
    return float(value)


def _read_pose(place: str, rows: object) -> Float[Tensor, "4 4"]:
    try:
        matrix = torch.tensor(rows, dtype=torch.float32)
        check_shape("transform_matrix", matrix, 4, 4)  # an InputError is a ValueError
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{place}: 'transform_matrix' is no 4 x 4 matrix of numbers.") from error
    rotation = matrix[:3, :3]
    rigid = torch.allclose(rotation @ rotation.mT, torch.eye(3), atol=1e-3)
    if not rigid or torch.linalg.det(rotation) < 0:
        raise InputError(
            f"{place}: 'transform_matrix' is no rigid pose; expected a rotation without scale or "
            "mirroring."
        )
    return matrix * _OPENGL_AXES
