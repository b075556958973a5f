"""Scenes as files in the formats that other programs know, and back.

Owns which files make up a saved scene; each file's own format lies in `export/`. Everything but the
scene file is in the user's world. nerfstudio's and COLMAP's formats know photos and cameras but no
pointmaps, so their folders hold the scene file as well.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .checks import check_choice
from .datasets.posed import TRANSFORMS, is_posed, load_posed, read_posed
from .errors import InputError
from .export.colmap import write_colmap
from .export.nerfstudio import write_posed_photos
from .export.ply import write_gaussians_ply, write_points_ply
from .export.scene_file import read_scene_file, write_scene_file
from .export.splat_files import find_splats, read_splats
from .ops.photos import with_known_cameras
from .ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from .photos.loading import PhotoOptions
from .render.cloud import scene_cloud
from .types import Gaussians, Photos, Scene

logger = logging.getLogger("reconx")

FORMATS = ("safetensors", "nerfstudio", "colmap")
"""Saved in users' workflows: frozen from the first release."""
_SCENE_FILE, _SPLATS = "scene.safetensors", "splats"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedScene:
    """What a file or folder holds."""

    scene: Scene | None
    """None where other programs left photos and cameras alone."""
    gaussians: Gaussians | None
    """In the user's world; None if none were saved."""
    photos: Photos
    """The photos with their cameras as prior, for geometry to run with other options."""


def save_scene(
    target: str | Path, scene: Scene, format: str, gaussians: Gaussians | None = None
) -> Path:
    """Write a scene; what is written appears whole or not at all.

    "safetensors" is one file that holds everything bit for bit. "nerfstudio" is a folder of
    `transforms.json`, `images/`, `masks/` where pixels are not valid, and `points.ply`; "colmap" is
    one of `images/`, `masks/` and `sparse/0/`. Both also get `scene.safetensors`, from which the
    scene is read back, and `splats.ply` if there are Gaussians.

    Args:
        target: Where it goes, without suffix.
        scene: In its own frame.
        format: One of `FORMATS`.
        gaussians: In the user's world.

    Returns:
        The file or folder.

    Raises:
        InputError: If the format is unknown or the folder exists.
    """
    check_choice("Scene format", format, FORMATS)
    target = Path(target)
    if format == "safetensors":
        path = target.with_name(f"{target.name}.safetensors")
        write_scene_file(path, scene, gaussians)
        return path
    with _new_folder(target) as folder:
        write_scene_file(folder / _SCENE_FILE, scene)
        if gaussians is not None:
            write_gaussians_ply(folder / f"{_SPLATS}.ply", gaussians)
        if format == "nerfstudio":
            write_nerfstudio(folder, scene)
        else:
            _write_colmap(folder, scene)
    return target


def write_nerfstudio(folder: Path, scene: Scene) -> None:
    """Write a scene's photos, cameras and measured points as nerfstudio reads them."""
    world, cloud = scene.world_from_scene, scene_cloud(scene)
    points = apply_sim3_to_points(world, cloud.points)
    write_points_ply(folder / "points.ply", points, cloud.colours, cloud.confidence)
    cameras = apply_sim3_to_cameras(world, scene.photo_cameras)
    write_posed_photos(folder, scene.photos, cameras, ply_file_path="points.ply")


def _write_colmap(folder: Path, scene: Scene) -> None:
    world, cloud = scene.world_from_scene, scene_cloud(scene)
    points = apply_sim3_to_points(world, cloud.points)
    cameras = apply_sim3_to_cameras(world, scene.photo_cameras)
    write_colmap(folder, scene.photos, cameras, points, cloud.colours)


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes the target when the block succeeds."""
    if target.exists():
        raise InputError(f"'{target}' already exists. Choose another name.")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_scene(path: str | Path, *, options: PhotoOptions | None = None) -> SavedScene:
    """Read what `save_scene` wrote, or photos and cameras in a folder of nerfstudio or COLMAP.

    Where a folder holds `scene.safetensors`, the scene comes from it, and cameras and pictures
    beside it are not read. Gaussians come from the scene file, in a folder from `splats.ply`, else
    `splats.spz`, else `splats.splat`.

    Args:
        path: A file or a folder.
        options: How photos without a scene are loaded; masks come from the folder.

    Raises:
        InputError: If there is nothing to read, or a file cannot be used.
    """
    path = Path(path)
    if not path.is_dir():
        scene, gaussians = read_scene_file(path)
        return SavedScene(scene=scene, gaussians=gaussians, photos=posed_photos(scene))
    splats = find_splats(path / _SPLATS)
    gaussians = None if splats is None else read_splats(splats)
    if (path / _SCENE_FILE).is_file():
        logger.info("'%s' is read from %s; delete that to read its cameras.", path, _SCENE_FILE)
        scene, _ = read_scene_file(path / _SCENE_FILE)
        return SavedScene(scene=scene, gaussians=gaussians, photos=posed_photos(scene))
    posed = read_posed(path)
    if posed is None:
        raise InputError(
            f"'{path}' holds no scene; expected {_SCENE_FILE}, {TRANSFORMS} or a COLMAP model in "
            "'sparse/0'."
        )
    photos = load_posed(posed, options or PhotoOptions())
    return SavedScene(scene=None, gaussians=gaussians, photos=photos)


def posed_photos(scene: Scene) -> Photos:
    """A scene's photos with its cameras, in the user's world, as what is known of them."""
    cameras = apply_sim3_to_cameras(scene.world_from_scene, scene.photo_cameras)
    return with_known_cameras(scene.photos, cameras.K, cameras.camera_to_world)


def find_scenes(folder: Path, depth: int = 3) -> list[Path]:
    """What `load_scene` may read in a folder, in order of path, without looking into files.

    Args:
        folder: Where to look; one that does not exist holds nothing.
        depth: Levels of folders below it. Folders of scenes are not searched.
    """
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        inner = [here / name for name in folders if not name.startswith(".")]
        scenes = [path for path in inner if is_posed(path)]
        found += [here / name for name in files if name.endswith(".safetensors")] + scenes
        deeper = len(here.relative_to(folder).parts) < depth
        folders[:] = [path.name for path in inner if deeper and path not in scenes]
    return sorted(found)
