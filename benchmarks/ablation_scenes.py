"""Scenes for the ablation: geometry and frames are found once and kept in a folder."""

import importlib
import importlib.util
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from reconx.evaluation.targets import Target
from reconx.export.atomic import replacing
from reconx.export.nerfstudio import read_splits, read_transforms
from reconx.export.posed import PosedPhotos
from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.estimators.registry import make_estimator
from reconx.ops.sim3 import apply_sim3_to_cameras, fit_sim3_to_cameras
from reconx.photos.decoding import decode_photo
from reconx.photos.loading import PhotoOptions, load_photos
from reconx.progress import SilentProgress
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Cameras, Scene, Sim3, Views
from reconx.video.registry import make_backbone
from reconx.video.sample import sample_views

SPLITS = ("two", "easy2")
"""The first of these that a folder has is taken."""
FRAMES = 12
"""Of the warped path."""
SPARE = 6
"""Most photos that play generated frames."""


@dataclass(frozen=True, kw_only=True)
class AblationScene:
    """One scene, what may train beside its photos, and what is scored."""

    name: str
    scene: Scene
    views: Mapping[str, Views]
    """By kind of frames: `warped`, and `spoilt` where that can be made."""
    targets: tuple[Target, ...]


def prepare(folder: Path, size: int, cache: Path) -> AblationScene:
    """Find or read one folder's geometry and frames.

    Args:
        folder: Photos with `transforms.json` and `splits.json`.
        size: Long side of photos, geometry and frames, in pixels.
        cache: Where they are kept; only this benchmark's own files are read there.
    """
    splits = read_splits(folder)
    split = next(name for name in SPLITS if name in splits)
    name = f"{folder.name} {split}"
    path = cache / f"{name.replace(' ', '-')}-{size}.pickle"
    if path.exists():
        return pickle.loads(path.read_bytes())
    posed = read_transforms(folder)
    context, targets = splits[split].context, splits[split].targets
    photos = load_photos(
        [posed.paths[posed.names.index(photo)] for photo in context],
        options=PhotoOptions(max_size=1024),
    )
    options = GeometryOptions(fit_size=size, geometry_size=size)
    scene = make_estimator("stereo", options).estimate(photos, SilentProgress())
    to_scene = fit_sim3_to_cameras(_true_cameras(posed, scene.photos.names), scene.photo_cameras)
    spare = [photo for photo in posed.names if photo not in (*context, *targets)][:SPARE]
    frames = [_load(posed, photo, to_scene, scene) for photo in spare]
    prepared = AblationScene(
        name=name,
        scene=scene,
        views={"warped": _warped(scene), **_spoilt(scene, frames)},
        targets=tuple(_load(posed, photo, to_scene, scene) for photo in targets),
    )
    with replacing(path) as temporary:
        temporary.write_bytes(pickle.dumps(prepared))
    return prepared


def _true_cameras(posed: PosedPhotos, names: tuple[str, ...]) -> Cameras:
    """True poses, as cameras of one nominal size (K and size are not used)."""
    chosen = [posed.cameras[posed.names.index(name)] for name in names]
    width, height = chosen[0].width, chosen[0].height
    return Cameras.concatenate([replace(it, width=width, height=height) for it in chosen])


def _load(posed: PosedPhotos, name: str, to_scene: Sim3, scene: Scene) -> Target:
    index = posed.names.index(name)
    long_side = max(scene.photos.width, scene.photos.height)
    picture = decode_photo(posed.paths[index], name, long_side)
    height, width = picture.image.shape[:2]
    camera = apply_sim3_to_cameras(to_scene, posed.cameras[index].resized(width, height))
    return Target(name=name, camera=camera, photo=picture.image, valid=picture.valid)


def _warped(scene: Scene) -> Views:
    """Frames between the photos, as the backbone without weights makes them."""
    path = make_path(scene, PathOptions(kind="interpolate", frames=FRAMES))
    return sample_views(make_backbone("warp"), scene, path, seed=0)


def _spoilt(scene: Scene, frames: list[Target]) -> dict[str, Views]:
    """Other photos, spoilt like frames of a poor video model and judged without weights."""
    judge = "reconx.splats.confidence.agreement"
    parts = ("corruptions", "reconx.splats.confidence", judge)
    if len(frames) < 2 or not all(importlib.util.find_spec(part) for part in parts):
        print("No spoilt frames: there are too few photos, or nobody here spoils and judges them.")
        return {}
    corruptions, agreement = (importlib.import_module(part) for part in ("corruptions", judge))
    pictures = torch.stack([frame.photo for frame in frames])
    mild = next(one for one in corruptions.SEVERITIES if one.name == "mild")
    spoilt, _ = corruptions.corrupt_frames(pictures, mild, seed=0)
    views = Views(
        frames=spoilt,
        cameras=Cameras.concatenate([frame.camera for frame in frames]),
        known=torch.zeros(spoilt.shape[:3], dtype=torch.bool),
        photo_index=torch.full((len(frames),), -1),
    )
    confidence = agreement.AgreementSource().judge(scene, views, SilentProgress())
    return {"spoilt": replace(views, confidence=confidence)}
