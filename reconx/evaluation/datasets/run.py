"""Evaluate the scenes of a dataset one after the other, and put the means beside the paper's."""

import dataclasses
import hashlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ...checks import check_choice
from ...errors import InputError, ReconXError
from ...export.atomic import write_text
from ...ops.photos import crop_photos, fit_size, resize_photos, select_photos
from ...ops.sim3 import apply_sim3_to_cameras, fit_sim3_to_cameras
from ...pipeline import ReconstructOptions, reconstruct
from ...progress import Progress, SilentProgress
from ...splats.perceptual.lpips import Lpips
from ...splats.perceptual.weights import load_lpips
from ...types import Cameras, Photos
from ..scores import Row
from ..targets import Target, score_gaussians, with_lpips
from .index import FrameSplit, read_index
from .registry import DATASETS, DatasetSpec
from .rows import RowFolder, SceneRow
from .shards import Shard

logger = logging.getLogger("reconx")

CAMERAS = ("given", "found")
"""Whether the context's true cameras go in, as in the paper's protocol, or only its pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOptions:
    """What is evaluated, and how."""

    dataset: str
    """A name of `DATASETS`."""
    root: Path
    """Where it lies."""
    index: Path
    """Which frames go in and which are scored."""
    cameras: str = "given"
    """One of `CAMERAS`; where they are found, each target's is refined by its photo."""
    reconstruct: ReconstructOptions
    """Of every scene; its fit size is the size that is scored."""
    lpips: Path | None = None
    """File or folder of the weights that measure LPIPS; see `load_lpips`."""

    def __post_init__(self) -> None:
        """Check the names."""
        check_choice("Dataset", self.dataset, tuple(DATASETS))
        check_choice("Cameras", self.cameras, CAMERAS)

    def settings(self) -> dict[str, object]:
        """What every row depends on; where the dataset lies is not part of that."""
        options = dataclasses.asdict(self.reconstruct)
        # Nor is the machine: processes of one run may have different ones.
        del options["device"], options["geometry"]["device"]
        return {
            "dataset": self.dataset,
            "index": hashlib.sha256(self.index.read_bytes()).hexdigest()[:16],
            "cameras": self.cameras,
            "lpips": self.lpips and self.lpips.name,
            **{name: str(value) for name, value in options.items()},
        }


def evaluate_dataset(
    options: DatasetOptions, output: Path, shard: Shard, progress: Progress | None = None
) -> str:
    """Evaluate this process's part of the scenes, but for those that are done.

    A scene that cannot be reconstructed gets a row that says why, and the next one follows.

    Args:
        options: What is evaluated.
        output: Folder of the rows (one line per scene, per process a file) and of `table.md`.
        shard: Which part.
        progress: Who is told.

    Returns:
        The table over all rows that are there, of this process and others.

    Raises:
        InputError: If the dataset, the index or the output cannot be used.
        WeightsNotFound: If there are no such weights of LPIPS.
    """
    progress = progress or SilentProgress()
    network = None if options.lpips is None else load_lpips(options.lpips)
    spec = DATASETS[options.dataset]
    splits = read_index(options.index)
    data = spec.open(options.root)
    scenes = [scene for scene in data.scenes() if scene in splits]
    if not scenes:
        raise InputError(
            f"None of the {len(splits)} scenes of '{options.index}' lies in '{options.root}'. "
            "Give the index that belongs to this dataset."
        )
    logger.info("%d of the index's %d scenes are there.", len(scenes), len(splits))
    folder = RowFolder(output, options.settings(), shard)

    def evaluate(scene: str) -> Row:
        split = splits[scene]
        photos = data.read(scene, split.frames)
        return evaluate_scene(photos, split, options, progress, network)

    run_scenes(shard.part(scenes), folder, evaluate)
    table = make_table(folder.rows(), len(scenes), options)
    write_text(output / "table.md", table)
    return table


def run_scenes(scenes: Sequence[str], folder: RowFolder, evaluate: Callable[[str], Row]) -> None:
    """Evaluate what has no row yet; every row is kept before the next scene begins."""
    done = {row.scene for row in folder.rows()}
    waiting = [scene for scene in scenes if scene not in done]
    logger.info("%d scenes to evaluate, %d are done.", len(waiting), len(scenes) - len(waiting))
    for number, scene in enumerate(waiting, start=1):
        start = time.perf_counter()
        try:
            row, error = evaluate(scene), None
        except ReconXError as refused:
            row, error = None, " ".join(str(refused).split())
        result = SceneRow(
            scene=scene,
            psnr=row and round(row.mean("psnr"), 4),
            ssim=row and round(row.mean("ssim"), 4),
            lpips=row and _rounded(row.mean("lpips")),
            targets={
                score.photo: {
                    name: round(value, 4)
                    for name in ("psnr", "ssim", "lpips")
                    if (value := getattr(score, name)) is not None
                }
                for score in (row.scores if row else ())
            },
            seconds=round(time.perf_counter() - start, 2),
            error=error,
        )
        folder.append(result)
        logger.info("%d/%d %s: %s", number, len(waiting), scene, error or f"{result.psnr} dB")


def _rounded(mean: float) -> float | None:
    return None if math.isnan(mean) else round(mean, 4)


def evaluate_scene(
    photos: Photos,
    split: FrameSplit,
    options: DatasetOptions,
    progress: Progress,
    lpips: Lpips | None = None,
) -> Row:
    """Reconstruct one scene from its context and score its targets.

    Args:
        photos: The split's frames in their order, with their true cameras as prior.
        split: Which of them are which.
        options: What is evaluated.
        progress: Who is told.
        lpips: Measures LPIPS too.

    Raises:
        AlignmentFailed: If the context does not form one scene.
        InputError: If a photo cannot be used.
    """
    photos = _scored(photos, DATASETS[options.dataset], options.reconstruct.geometry.fit_size)
    context = [split.frames.index(frame) for frame in split.context]
    captured = select_photos(photos, context)
    if options.cameras == "found":
        captured = dataclasses.replace(captured, prior=None)
    result = reconstruct(captured, options=options.reconstruct, progress=progress)
    cameras = _cameras(photos)
    found = [photos.names.index(name) for name in result.scene.photos.names]
    scene_from_truth = fit_sim3_to_cameras(cameras[found], result.scene.photo_cameras)
    placed = apply_sim3_to_cameras(scene_from_truth, cameras)
    targets = [
        Target(
            name=photos.names[index],
            camera=placed[index],
            photo=photos.images[index],
            valid=photos.valid[index],
        )
        for index in map(split.frames.index, split.targets)
    ]
    meaning = f"fit on the context, cameras {options.cameras}"
    refine = options.cameras == "found"
    background = result.fit.background
    row = score_gaussians(
        "fit", meaning, result.gaussians, targets, background=background, refine=refine
    )
    return with_lpips(row, targets, lpips)


def _scored(photos: Photos, spec: DatasetSpec, size: int) -> Photos:
    """The photos as they go in and are scored."""
    if spec.square:
        return crop_photos(photos, size, size)
    return resize_photos(photos, *fit_size(photos.width, photos.height, size))


def _cameras(photos: Photos) -> Cameras:
    prior = photos.prior
    if prior is None or prior.K is None or prior.camera_to_world is None:
        raise InputError("A dataset's photos came without cameras; expected known ones.")
    return Cameras(
        camera_to_world=prior.camera_to_world,
        K=prior.K,
        width=photos.width,
        height=photos.height,
    )


def make_table(rows: Sequence[SceneRow], expected: int, options: DatasetOptions) -> str:
    """Markdown: our means over the scenes that were reconstructed, then the paper's figures."""
    spec = DATASETS[options.dataset]
    scored = [row for row in rows if row.psnr is not None and row.ssim is not None]
    means = " | ".join(
        f"{fmean(values):.{places}f}" if values else "-"
        for values, places in (
            ([row.psnr for row in scored if row.psnr is not None], 2),
            ([row.ssim for row in scored if row.ssim is not None], 3),
            ([row.lpips for row in scored if row.lpips is not None], 3),
        )
    )
    settings = options.reconstruct
    ours = f"this, {settings.estimator} + {settings.backbone}, cameras {options.cameras}"
    lines = [
        f"# {spec.title}",
        "",
        "| method | scenes | PSNR | SSIM | LPIPS |",
        "|---|---|---|---|---|",
        f"| {ours} | {len(scored)} of {expected} | {means} |",
    ]
    lines += [
        f"| {line.method} (paper) | | {line.psnr:.2f} | {_number(line.ssim)} | "
        f"{_number(line.lpips)} |"
        for line in spec.reported
    ]
    failed = [row for row in rows if row.error is not None]
    lines += [
        "",
        f"{len(failed)} scenes were not reconstructed and {expected - len(rows)} are still to be "
        "evaluated; the means leave both out."
        + ("" if options.lpips else " LPIPS was not measured: --score-lpips FILE."),
    ]
    lines += [f"- {row.scene}: {row.error}" for row in failed]
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
