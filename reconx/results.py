"""A reconstruction as a folder of files that people and other programs open.

Everything is written in the world of the user (`Scene.world_from_scene` is applied here). The
folder gets its files only when all of them are complete.
"""

import dataclasses
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from .errors import InputError, MissingDependency
from .export.overview import PathPictures, draw_overview
from .export.pictures import write_picture
from .export.splat_files import SPLAT_FORMATS, write_splats
from .export.video import write_video
from .geometry.next_photo import NEIGHBOURS, neighbours_of, strongest_links, suggest_photos
from .geometry.overlap import measure_overlap
from .ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_gaussians, apply_sim3_to_points
from .parts import install_command
from .pipeline import Reconstruction, versions
from .progress import Progress, SilentProgress, StageUsage, measure_usage
from .render.gaussians import render_gaussians
from .saving import write_nerfstudio
from .types import NextPhoto, Overlap, Sim3

CHECKPOINT = "fit.checkpoint"
"""File in the output folder from which an interrupted fit goes on; a result replaces it."""
FPS = 24.0
"""Frames per second of the video."""
_SPLATS = "splats"
"""Name of the files of Gaussians, without suffix."""


def prepare_output(folder: Path, *, overwrite: bool) -> None:
    """Check, before any long work, that a result can be written.

    Raises:
        InputError: If the folder cannot be written, or holds files and may not be overwritten.
        MissingDependency: If the package that writes videos is absent.
    """
    if importlib.util.find_spec("av") is None:
        raise MissingDependency(
            f"Writing video.mp4 needs av. Run: {install_command('pip install av')}"
        )
    if folder.is_dir() and not overwrite and {it.name for it in folder.iterdir()} - {CHECKPOINT}:
        raise InputError(
            f"Output '{folder}' already holds files. Choose another folder, or add --overwrite."
        )
    with _staging_folder(folder):
        pass


def save_reconstruction(
    result: Reconstruction,
    folder: Path,
    *,
    overwrite: bool,
    formats: tuple[str, ...] = ("ply",),
    progress: Progress | None = None,
) -> None:
    """Write splats, points, cameras, photos, video, overview and report.

    Splats of an earlier result go, whatever their format; other files in the folder are left alone.

    Args:
        result: What to write.
        folder: Where to.
        overwrite: Whether the folder may hold files.
        formats: Of the splats; see `SPLAT_FORMATS`.
        progress: Who is told.

    Raises:
        InputError: As `prepare_output`.
        MissingDependency: If the package that writes videos is absent.
    """
    prepare_output(folder, overwrite=overwrite)
    progress = progress or SilentProgress()
    with _staging_folder(folder) as staging:
        with measure_usage() as usage:
            overlap = measure_overlap(result.scene)
            next_photos = suggest_photos(result.scene, overlap)
            _write_world(result, staging, formats)
            _write_pictures(result, staging, overlap, next_photos, progress)
        report = _make_report(result, overlap, next_photos, {**result.usage, "files": usage})
        text = json.dumps(report, indent=1, default=_plain) + "\n"
        (staging / "report.json").write_text(text, encoding="utf-8")
        for source in sorted(path for path in staging.rglob("*") if path.is_file()):
            target = folder / source.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        for name in set(SPLAT_FORMATS) - set(formats):
            (folder / f"{_SPLATS}.{name}").unlink(missing_ok=True)


@contextmanager
def _staging_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder on the target's file system, removed at the end."""
    parent = folder.absolute().parent
    while not parent.exists():
        parent = parent.parent
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
        if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK)):
            shutil.rmtree(staging)
            raise OSError("it is no folder, or is read-only")
    except OSError as error:
        raise InputError(
            f"Output '{folder}' cannot be written ({error.strerror or error}). Choose a folder "
            "that you may write to."
        ) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging)


def _write_world(result: Reconstruction, folder: Path, formats: tuple[str, ...]) -> None:
    gaussians = apply_sim3_to_gaussians(result.scene.world_from_scene, result.gaussians)
    write_splats(folder / _SPLATS, gaussians, formats)
    write_nerfstudio(folder, result.scene)


def _write_pictures(
    result: Reconstruction,
    folder: Path,
    overlap: Overlap,
    next_photos: Sequence[NextPhoto],
    progress: Progress,
) -> None:
    with torch.no_grad():
        film = render_gaussians(result.gaussians, result.path.cameras, progress=progress)
        photos = render_gaussians(result.gaussians, result.scene.photo_cameras)
    write_video(folder / "video.mp4", film.colour, fps=FPS)
    overview = draw_overview(
        result.scene,
        PathPictures(
            cameras=result.path.cameras,
            frames=result.views.frames,
            holes=~result.views.known,
            renders=film.colour,
            confidence=result.views.confidence,
            judge=result.judge,
        ),
        photo_renders=photos.colour,
        overlap=overlap,
        next_photos=next_photos,
    )
    write_picture(folder / "overview.png", overview)


def _make_report(
    result: Reconstruction,
    overlap: Overlap,
    next_photos: Sequence[NextPhoto],
    usage: Mapping[str, StageUsage],
) -> dict[str, object]:
    scene, source = result.scene, result.scene.source
    world_cameras = apply_sim3_to_cameras(scene.world_from_scene, scene.photo_cameras)
    photos = {
        name: {
            "measured": round(float(scene.measured[index].float().mean()), 4),
            "filled": round(float((scene.valid & ~scene.measured)[index].float().mean()), 4),
            "camera_to_world": world_cameras.camera_to_world[index].tolist(),
            "K": world_cameras.K[index].tolist(),
            "neighbours": _neighbours(scene.photos.names, overlap, index),
            "warnings": [text for text in source.warnings if name in text],
        }
        for index, name in enumerate(scene.photos.names)
    }
    return {
        "seed": result.options.seed,
        "stages": {
            name: {
                "seconds": round(stage.seconds, 2),
                "peak_memory_mb": round(stage.peak_memory_mb),
            }
            for name, stage in usage.items()
        },
        "photos": photos,
        "matches": [
            {"photos": list(pair), "count": count} for pair, count in source.matches.items()
        ],
        "weakest_pair": _weakest_pair(scene.photos.names, overlap),
        "next_photos": [_next_photo(photo, scene.world_from_scene) for photo in next_photos],
        "warnings": list(source.warnings),
        "estimator": {
            "name": source.estimator,
            "checkpoint": source.checkpoint,
            "licence": source.licence,
            "seconds": {name: round(seconds, 2) for name, seconds in source.seconds.items()},
        },
        "frames": {"backbone": result.options.backbone, "confidence": result.judge},
        "fit": dict(result.fit.report),
        "gaussians": len(result.gaussians),
        "options": dataclasses.asdict(result.options),
        "versions": versions(),
    }


def _neighbours(names: Sequence[str], overlap: Overlap, photo: int) -> dict[str, object]:
    """Overlap with the photos that share most with one."""
    nearest = neighbours_of(overlap, photo)[:NEIGHBOURS]
    return {names[other]: _pair(overlap, (photo, other)) for other in nearest}


def _pair(overlap: Overlap, pair: tuple[int, int]) -> dict[str, float]:
    return {
        "shared": round(float(overlap.mutual[pair]), 4),
        "angle_degrees": round(float(overlap.angle_degrees[pair]), 2),
    }


def _weakest_pair(names: Sequence[str], overlap: Overlap) -> dict[str, object] | None:
    """The pair by which all others hang together least; None where no photos share anything."""
    links = strongest_links(overlap)
    if not links:
        return None
    return {"photos": [names[view] for view in links[0]], **_pair(overlap, links[0])}


def _next_photo(photo: NextPhoto, world: Sim3) -> dict[str, object]:
    center = None if photo.center is None else apply_sim3_to_points(world, photo.center).tolist()
    return {"photos": list(photo.photos), "camera_center": center, "text": photo.text}


def _plain(value: object) -> object:
    """What options hold and JSON lacks a type for: tensors and paths."""
    return value.tolist() if isinstance(value, torch.Tensor) else str(value)
