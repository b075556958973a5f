"""Photos to Gaussians in one call: composes the stages, does no mathematics of its own."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__
from .checks import check_choice, check_device, check_range
from .geometry.estimators.base import GeometryOptions
from .geometry.estimators.registry import load_model, make_estimator
from .photos.loading import PhotoOptions, load_photos
from .progress import Progress, SilentProgress, StageUsage, measure_usage
from .splats.confidence.base import judge_views
from .splats.confidence.registry import make_source
from .splats.fit import FitOptions, fit_gaussians
from .trajectory.options import CameraPath, MoveOptions, PathOptions
from .trajectory.path import KINDS, make_path
from .types import FitResult, Gaussians, Photos, Scene, Views
from .video.model_options import ModelOptions
from .video.registry import make_backbone
from .video.sample import sample_views

QUALITIES: Mapping[str, Mapping[str, int]] = {
    "draft": {
        "photo_size": 1024,
        "size": 384,
        "frames": 24,
        "steps": 300,
        "gaussians": 40_000,
    },
    "normal": {
        "photo_size": 1600,
        "size": 512,
        "frames": 48,
        "steps": 400,
        "gaussians": 80_000,
    },
    "high": {
        "photo_size": 2000,
        "size": 768,
        "frames": 96,
        "steps": 1000,
        "gaussians": 180_000,
    },
}
"""Sizes (long side, pixels), frames, fit steps and Gaussians that belong together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructOptions:
    """Every choice of a reconstruction; the stages' own options lie in their folders."""

    photos: PhotoOptions = field(default_factory=PhotoOptions)
    """How photos are loaded."""
    estimator: str = "stereo"
    """Registered geometry estimator."""
    checkpoint: Path | None = None
    """The file of its weights, for an estimator that has some."""
    geometry: GeometryOptions = field(default_factory=GeometryOptions)
    """Sizes and device of the geometry."""
    path: PathOptions = field(default_factory=PathOptions)
    """The camera path that is sampled and filmed."""
    backbone: str = "small"
    """Registered video backbone."""
    model: ModelOptions | None = None
    """Its weights, for a backbone that has some."""
    confidence: str = "agreement"
    """Registered source of confidence, which judges frames that their backbone does not."""
    fit: FitOptions = field(default_factory=FitOptions)
    """The fit of the Gaussians."""
    device: str = "cpu"
    """Torch device of the heavy work."""
    seed: int = 0
    """Seeds every random choice."""

    @staticmethod
    def of_quality(
        quality: str = "normal",
        *,
        size: int | None = None,
        frames: int | None = None,
        steps: int | None = None,
        estimator: str = "stereo",
        checkpoint: Path | None = None,
        path: str = "interpolate",
        move: MoveOptions | None = None,
        backbone: str = "small",
        model: ModelOptions | None = None,
        confidence: str = "agreement",
        photos: PhotoOptions | None = None,
        fit: FitOptions | None = None,
        device: str = "cpu",
        seed: int = 0,
    ) -> "ReconstructOptions":
        """Options that belong together, with single ones overridden.

        Args:
            quality: "draft", "normal" or "high".
            size: Long side in pixels of geometry, frames and fit.
            frames: Frames of the path.
            steps: Steps of the fit.
            estimator: Registered geometry estimator.
            checkpoint: The file of its weights, for one that has some.
            path: Kind of camera path.
            move: How far the path goes and from which photo, for kinds that move one camera.
            backbone: Registered video backbone.
            model: Its weights, for a backbone that has some.
            confidence: Registered source of confidence.
            photos: How photos are loaded; its `max_size` gives way to the quality's.
            fit: How Gaussians are fitted; its steps and budget give way to the quality's.
            device: Torch device.
            seed: Seeds every random choice.

        Raises:
            InputError: If a value is unknown or out of range.
        """
        check_choice("Quality", quality, tuple(QUALITIES))
        preset = QUALITIES[quality]
        size = preset["size"] if size is None else size
        check_range("Size", size, 64, 4096)
        photo_size = max(preset["photo_size"], size)
        return ReconstructOptions(
            photos=replace(photos or PhotoOptions(), max_size=photo_size),
            estimator=estimator,
            checkpoint=checkpoint,
            geometry=GeometryOptions(fit_size=size, geometry_size=size, device=device, seed=seed),
            path=PathOptions(
                kind=path,
                frames=preset["frames"] if frames is None else frames,
                move=move,
            ),
            backbone=backbone,
            model=model,
            confidence=confidence,
            fit=replace(
                fit or FitOptions(),
                steps=preset["steps"] if steps is None else steps,
                max_gaussians=preset["gaussians"],
            ),
            device=device,
            seed=seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """Everything a reconstruction made, in the scene's frame; `export/result.py` writes it."""

    scene: Scene
    """Cameras refined by the fit."""
    path: CameraPath
    """The camera path."""
    views: Views
    """Frames along the path, as the backbone made them."""
    judge: str
    """Who gave them their confidence: the backbone itself, or a source of confidence."""
    fit: FitResult
    """The Gaussians and how they were found."""
    options: ReconstructOptions
    """What was asked for."""
    usage: Mapping[str, StageUsage]
    """Seconds and peak memory per stage, in order."""

    @property
    def gaussians(self) -> Gaussians:
        """The result, in the scene's frame."""
        return self.fit.gaussians


def reconstruct(
    photos: Photos | Sequence[str | Path],
    *,
    options: ReconstructOptions | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Reconstruction:
    """Turn two or more photos of a place into Gaussians.

    Args:
        photos: Files and folders, or photos already loaded.
        options: See `ReconstructOptions.of_quality`.
        progress: Who is told.
        checkpoint: File in which the fit keeps its state, and from which it goes on; it stays.

    Returns:
        Gaussians, scene, path and frames, with what each stage cost.

    Raises:
        InputError: If photos or options cannot be used; before any long work where possible.
        MissingDependency: If a chosen part lacks its package.
        WeightsNotFound: If there is no such checkpoint.
        UnsafeCheckpoint: If reading it would run code.
        AlignmentFailed: If no two photos can be brought into one world.
    """
    options = options or ReconstructOptions()
    progress = progress or SilentProgress()
    check_device(options.device)
    # Unknown names and missing packages fail here, before the first long stage.
    check_choice("Path kind", options.path.kind, tuple(KINDS))
    model = _load_model(options)
    own = {} if model is None else {"model": model}
    estimator = make_estimator(options.estimator, options.geometry, **own)
    source = make_source(options.confidence, device=options.device, model=model)
    backbone = make_backbone(options.backbone, options.model)
    usage: dict[str, StageUsage] = {}
    with _stage("photos", usage):
        if not isinstance(photos, Photos):
            photos = load_photos(photos, options=options.photos)
    with _stage("geometry", usage):
        scene = estimator.estimate(photos, progress)
    with _stage("path", usage):
        path = make_path(scene, options.path)
    with _stage("frames", usage):
        views = sample_views(
            backbone, scene, path, seed=options.seed, device=options.device, progress=progress
        )
    judge = options.backbone
    if views.confidence is None:
        judge = options.confidence
        with _stage("confidence", usage):
            views = judge_views(views, scene, source, progress)
    with _stage("fit", usage):
        fit = fit_gaussians(
            scene,
            views,
            options=options.fit,
            device=options.device,
            seed=options.seed,
            progress=progress,
            checkpoint=checkpoint,
        )
    return Reconstruction(
        scene=fit.scene,
        path=path,
        views=views,
        judge=judge,
        fit=fit,
        options=options,
        usage=usage,
    )


def _load_model(options: ReconstructOptions) -> Any:
    """The estimator's network, where a checkpoint was given."""
    if options.checkpoint is None:
        return None
    return load_model(options.estimator, options.checkpoint, options.device)


def versions() -> dict[str, str]:
    """Versions of what made a result, for its report."""
    packages = ("torch", "numpy", "scipy", "numba", "poselib", "pycolmap")
    found = {"reconx": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


@contextmanager
def _stage(name: str, usage: dict[str, StageUsage]) -> Iterator[None]:
    with measure_usage() as measured:
        yield
    usage[name] = measured
