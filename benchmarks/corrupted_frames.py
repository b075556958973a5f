"""Measure what confidence is worth when generated frames are wrong, and write the figures down.

Run from the repository's root: `python benchmarks/corrupted_frames.py CHURCH KITCHEN`: folders
(photos and `transforms.json`) of Strecha's Herz-Jesu-P8 and of deep-video-mvs' kitchen. Real
pictures play the generated frames (`corruptions.py` spoils them), others are targets; cameras are
known. The kitchen and the sample room have frames as close to each other as a video's; the church's
are metres apart, so that what one of them gets wrong, often no other one shows. Scored are the
targets' parts that no context photo covers but some frame shows, and whole targets. Arms of one
row share frames and seed:

- captured: context photos alone
- unweighted: every pixel of a frame counts as a captured one
- uniform: every pixel of a frame weighs 0.3
- confidence: as `AgreementSource` judges them
- oracle: wrong pixels weigh 0.25 and all others 1, which no judge can know: what there is to gain

The same command goes on where it stopped: each fit is a line in `rows.jsonl`.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import torch
from corruptions import SEVERITIES, Severity, corrupt_frames
from jaxtyping import Bool, Float
from scipy.stats import spearmanr
from torch import Tensor

from reconx.export.nerfstudio import read_transforms
from reconx.export.pictures import write_picture
from reconx.export.scene_file import read_scene_file, write_scene_file
from reconx.export.sheet import Section, Tile, draw_sheet
from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.estimators.registry import make_estimator
from reconx.ops.metrics import psnr
from reconx.ops.photos import with_known_cameras
from reconx.ops.projection import inside_image, project_points
from reconx.ops.sim3 import apply_sim3_to_cameras
from reconx.photos.loading import PhotoOptions, load_photos
from reconx.progress import SilentProgress
from reconx.render.gaussians import render_gaussians
from reconx.splats.confidence.agreement import AgreementSource
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.splats.placing import view_depths
from reconx.types import Cameras, Scene, Views

HERE = Path(__file__).resolve().parent
ROOM = HERE / "data" / "sample-room-frames"
ARMS = ("captured", "unweighted", "uniform", "confidence", "oracle")
UNIFORM = 10**0.3
"""Confidence that weighs 0.3."""
TRUSTED = 10.0
"""Confidence that weighs 1."""
DOUBTED = 10**0.25
"""Confidence that weighs 0.25: where all frames are wrong, something is better than nothing. With
0.05 the oracle gained less."""
PLACE = ("scene", "severity", "arm", "seed", "size", "steps", "gaussians")
"""What tells one fit from another."""
HIDDEN_SHARE = 0.05
"""A point farther than what a photo shows there by more than this share is hidden to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Which pictures of a folder play which part."""

    name: str
    context: tuple[str, ...]
    frames: tuple[str, ...]
    targets: tuple[str, ...]


CHURCH = (
    Case(
        name="church, to the left",
        context=("0005.jpg", "0006.jpg"),
        frames=("0000.jpg", "0001.jpg", "0003.jpg", "0004.jpg", "0007.jpg"),
        targets=("0002.jpg",),
    ),
    Case(
        name="church, to the right",
        context=("0001.jpg", "0002.jpg"),
        frames=("0000.jpg", "0003.jpg", "0004.jpg", "0006.jpg", "0007.jpg"),
        targets=("0005.jpg",),
    ),
)
KITCHEN = Case(
    name="kitchen",
    context=("00069.jpg", "00072.jpg"),
    frames=tuple(f"{number:05}.jpg" for number in (73, 74, 76, 78, 80, 81, 82, 83)),
    targets=("00075.jpg", "00077.jpg", "00079.jpg"),
)
SAMPLE_ROOM = Case(
    name="sample room",
    context=("left.jpg", "middle.jpg"),
    frames=tuple(f"frame-{index}.jpg" for index in range(8)),
    targets=("target-1.jpg", "target-2.jpg", "target-3.jpg"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A case with its geometry, all in the context's scene."""

    name: str
    scene: Scene
    """Of the context photos."""
    views: Views
    """Clean frames."""
    pictures: Float[Tensor, "target height width 3"]
    cameras: Cameras
    """Of the targets."""
    uncovered: Bool[Tensor, "target height width"]
    """What no context photo covers and some frame shows."""


def prepare(case: Case, folder: Path, size: int, cache: Path) -> Prepared:
    """Find the geometry of the context, and of all pictures, which tells what is covered."""
    names = (*case.context, *case.frames, *case.targets)
    scene = _geometry(case.name, folder, case.context, size, cache)
    everything = _geometry(f"{case.name}, all", folder, names, size, cache)
    to_scene = scene.world_from_scene.inverse().compose(everything.world_from_scene)
    cameras = apply_sim3_to_cameras(to_scene, everything.photo_cameras)
    first, last = len(case.context), len(case.context) + len(case.frames)
    frames = everything.photos.images[first:last]
    shown = torch.stack(
        [
            torch.stack([_shows(everything, other, view) for other in range(last)])
            for view in range(last, len(names))
        ]
    )
    return Prepared(
        name=case.name,
        scene=scene,
        views=Views(
            frames=frames,
            cameras=cameras[first:last],
            known=torch.zeros(frames.shape[:3], dtype=torch.bool),
            photo_index=torch.full((len(frames),), -1),
        ),
        pictures=everything.photos.images[last:],
        cameras=cameras[last:],
        uncovered=~shown[:, :first].any(1) & shown[:, first:].any(1),
    )


def _geometry(name: str, folder: Path, names: Sequence[str], size: int, cache: Path) -> Scene:
    path = cache / f"{name.replace(', ', '-').replace(' ', '-')}-{size}.safetensors"
    if path.exists():
        return read_scene_file(path)[0]
    posed = read_transforms(folder)
    places = [posed.names.index(photo) for photo in names]
    photos = load_photos(
        [posed.paths[place] for place in places], options=PhotoOptions(max_size=1024)
    )
    cameras = Cameras.concatenate(
        [posed.cameras[place].resized(photos.width, photos.height) for place in places]
    )
    photos = with_known_cameras(photos, cameras.K, cameras.camera_to_world)
    options = GeometryOptions(fit_size=size, geometry_size=size)
    scene = make_estimator("stereo", options).estimate(photos, SilentProgress())
    if scene.photos.names != tuple(names):
        raise SystemExit(f"Of {names}, only {scene.photos.names} joined the scene '{name}'.")
    write_scene_file(path, scene)
    return scene


def _shows(scene: Scene, other: int, view: int) -> Bool[Tensor, "height width"]:
    """Which pixels of one picture another shows, by the geometry of all."""
    camera = scene.cameras[other]
    pixels, z = project_points(scene.points[view], camera.viewmats[0], camera.K[0])
    shown = (z > 0) & inside_image(pixels, camera.width, camera.height)
    column, row = pixels[shown].long().unbind(-1)
    # Where nothing stands, which is NaN, nothing hides.
    surface = view_depths(scene)[other, row, column]
    shown[shown.clone()] = ~(z[shown] > surface * (1 + HIDDEN_SHARE))
    return shown


def run_rows(
    prepared: Prepared, severity: Severity, seed: int, base: FitOptions, done: set[str]
) -> Iterable[dict[str, Any]]:
    """One row per arm that is not done yet."""
    clean = prepared.views
    frames, wrong = corrupt_frames(clean.frames, severity, seed)
    views = replace(clean, frames=frames)
    for arm in ARMS:
        row: dict[str, Any] = {"scene": prepared.name, "severity": severity.name, "arm": arm}
        row |= {"seed": seed, "size": max(frames.shape[1:3])}
        row |= {"steps": base.steps, "gaussians": base.max_gaussians}
        if _key(row) in done or _as_run(severity.name, arm) != (severity.name, arm):
            continue
        began = time.process_time()
        judged = _judge(prepared.scene, views, wrong, arm)
        if arm == "confidence":
            row |= {"judge_seconds": round(time.process_time() - began, 2)}
            row |= _diagnose(judged, clean.frames, frames, wrong)
        options = replace(base, train_on_generated=arm != "captured", refine_poses=False)
        fitted = fit_gaussians(prepared.scene, judged, options=options, seed=seed)
        with torch.no_grad():
            shown = render_gaussians(fitted.gaussians, prepared.cameras).colour.clamp(0, 1)
        yield row | {
            "uncovered_psnr": round(psnr(shown, prepared.pictures, prepared.uncovered), 3),
            "psnr": round(psnr(shown, prepared.pictures), 3),
            "wrong_share": round(float(wrong.float().mean()), 3),
            "fit_seconds": round(time.process_time() - began, 2),
        }


def _judge(scene: Scene, views: Views, wrong: Bool[Tensor, "frame h w"], arm: str) -> Views:
    if arm == "confidence":
        return replace(views, confidence=AgreementSource().judge(scene, views, SilentProgress()))
    confidence = torch.full(views.known.shape, UNIFORM if arm == "uniform" else TRUSTED)
    if arm == "oracle":
        confidence[wrong] = DOUBTED
    return replace(views, confidence=confidence)


def _diagnose(
    views: Views, clean: Tensor, frames: Tensor, wrong: Bool[Tensor, "frame h w"]
) -> dict[str, float]:
    """How well confidence knows of the true error: rank correlation, and mean weight by truth."""
    assert views.confidence is not None
    weight = views.confidence.log10().clamp(max=1)
    error = (frames - clean).abs().mean(-1)
    found = {"weight_right": round(float(weight[~wrong].mean()), 3)}
    if bool(wrong.any()):
        rank = spearmanr(weight.flatten().numpy()[::7], -error.flatten().numpy()[::7])
        found["weight_wrong"] = round(float(weight[wrong].mean()), 3)
        found["rank_correlation"] = round(float(rank.statistic), 3)  # pyright: ignore
    return found


def _key(row: Mapping[str, Any]) -> str:
    return "|".join(str(row[part]) for part in PLACE)


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per scene and severity the mean of each arm over seeds, and what confidence gains on it."""
    summary = []
    scenes = list(dict.fromkeys(row["scene"] for row in rows))
    for scene in [*scenes, "mean"]:
        for severity in dict.fromkeys(row["severity"] for row in rows):
            line: dict[str, Any] = {"scene": scene, "severity": severity}
            for measure in ("uncovered_psnr", "psnr"):
                arms = {arm: _mean(rows, scene, severity, arm, measure) for arm in ARMS}
                line[measure] = {arm: round(value, 2) for arm, value in arms.items()}
                line[f"{measure}_gain"] = {
                    arm: round(arms["confidence"] - arms[arm], 2)
                    for arm in ARMS
                    if arm != "confidence"
                }
            summary.append(line)
    return summary


def _as_run(severity: str, arm: str) -> tuple[str, str]:
    """Which fit gives an arm's figure: some of them would be the same fit."""
    clean = SEVERITIES[0].name
    if arm == "captured":
        return clean, arm
    return (clean, "unweighted") if (severity, arm) == (clean, "oracle") else (severity, arm)


def _mean(
    rows: Sequence[Mapping[str, Any]], scene: str, severity: str, arm: str, measure: str
) -> float:
    place = _as_run(severity, arm)
    values = [
        row[measure]
        for row in rows
        if scene in (row["scene"], "mean") and (row["severity"], row["arm"]) == place
    ]
    return statistics.fmean(values) if values else float("nan")


def write_table(summary: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A Markdown table: PSNR where no context photo covers the target, then of whole targets."""
    lines = []
    for measure, title in (("uncovered_psnr", "uncovered parts"), ("psnr", "whole targets")):
        lines += [f"PSNR in dB, {title}:", "", "| scene | frames | " + " | ".join(ARMS) + " |"]
        lines.append("|---" * (2 + len(ARMS)) + "|")
        for line in summary:
            numbers = " | ".join(f"{line[measure][arm]:.2f}" for arm in ARMS)
            lines.append(f"| {line['scene']} | {line['severity']} | {numbers} |")
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")


def draw_confidence(prepared: Prepared, seed: int) -> Section:
    """Frames as they were spoiled, the confidence they got, and the true error."""
    frames, wrong = corrupt_frames(prepared.views.frames, SEVERITIES[-1], seed)
    spoilt = replace(prepared.views, frames=frames)
    judged = _judge(prepared.scene, spoilt, wrong, "confidence")
    assert judged.confidence is not None
    error = (frames - prepared.views.frames).abs().mean(-1)
    shown = range(0, len(frames), 2)
    planes = {"weight": judged.confidence.log10().clamp(0, 1), "true error x 3": 3 * error}
    rows = [[Tile(picture=frames[index], caption=f"frame {index + 1}") for index in shown]]
    for name, plane in planes.items():
        grey = plane[..., None].expand(-1, -1, -1, 3).clamp(0, 1)
        rows.append([Tile(picture=grey[index], caption=name) for index in shown])
    return Section(heading=prepared.name, rows=rows, columns=len(rows[0]), tile_height=260)


def main() -> None:
    """Run what is not done yet and write JSON, table and picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("church", type=Path, help="folder of Herz-Jesu-P8")
    parser.add_argument("kitchen", type=Path, help="folder of deep-video-mvs' hololens 000")
    parser.add_argument("--size", type=int, default=192, help="long side of all pictures")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--gaussians", type=int, default=6_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="others for tuning")
    parser.add_argument("--cases", type=int, nargs="+", default=[0, 1, 2, 3], help="which scenes")
    names = [severity.name for severity in SEVERITIES]
    parser.add_argument("--severities", nargs="+", default=names, choices=names)
    parser.add_argument("--work", type=Path, default=Path("out/corrupted-frames"))
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    began = os.getloadavg() if hasattr(os, "getloadavg") else None
    log = options.work / "rows.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {_key(row) for row in rows}
    cases = [(case, options.church) for case in CHURCH]
    cases += [(SAMPLE_ROOM, ROOM), (KITCHEN, options.kitchen)]
    chosen = [severity for severity in SEVERITIES if severity.name in options.severities]
    base = FitOptions(steps=options.steps, max_gaussians=options.gaussians)
    scenes = [
        prepare(case, folder, options.size, options.work)
        for case, folder in (cases[index] for index in options.cases)
    ]
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for prepared, severity in product(scenes, chosen):
            for row in run_rows(prepared, severity, seed, base, done):
                rows.append(row)
                print(json.dumps(row), flush=True)
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    # The other photos are not ours to show.
    ours = [prepared for prepared in scenes if prepared.name == SAMPLE_ROOM.name]
    sections = [draw_confidence(prepared, seed=0) for prepared in ours]
    setting = {name: getattr(options, name) for name in ("size", "steps", "gaussians")}
    rows = [row for row in rows if row.items() >= setting.items()]
    summary = summarise(rows)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "load_average_before": began,
        **setting,
        "seeds": options.seeds,
        "summary": summary,
        "rows": rows,
    }
    stem = options.out / f"corrupted-frames-{datetime.now(UTC):%Y-%m-%d}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    write_table(summary, stem.with_suffix(".md"))
    write_picture(stem.with_suffix(".png"), draw_sheet("Confidence of corrupted frames", sections))
    print(stem.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
