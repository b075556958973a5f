"""What frames of the backbones without downloads add to a scene: captured photos alone, and with.

Run from the repository's root: `python benchmarks/end_to_end.py assets/sample-room FOLDER ...`,
each a folder of photos with `transforms.json` and `splits.json`. The first of the splits "two" and
"easy2" goes in, without its cameras; unseen photos are scored as in `evaluate`: the frames of each
backbone at their cameras, and fits with 12 frames between the photos that train as far as they are
trusted. All fits share geometry and seeds.
"""

import argparse
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from ablation_scenes import FRAMES, AblationScene, prepare
from small_model import request_for

from reconx.evaluation.refine import refine_camera
from reconx.evaluation.targets import Target, score_gaussians
from reconx.export.pictures import write_picture
from reconx.export.sheet import Section, Tile, draw_sheet
from reconx.ops.metrics import psnr, ssim
from reconx.progress import SilentProgress
from reconx.render.gaussians import render_gaussians
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import FILLED, Cameras, FitResult, Gaussians
from reconx.video.base import Clip
from reconx.video.registry import make_backbone
from reconx.video.sample import sample_views

BACKBONES = ("warp", "small")
ROOT = Path(__file__).resolve().parents[1]
OURS = "sample-room"
"""Whose pictures are ours to show."""


def refined(scene: AblationScene, gaussians: Gaussians) -> list[Target]:
    """The targets with cameras that were brought to where their photos say they are."""

    def render(cameras: Cameras) -> Any:
        return render_gaussians(gaussians, cameras)

    with torch.no_grad():
        return [
            replace(it, camera=refine_camera(render, it.camera, it.photo, it.valid))
            for it in scene.targets
        ]


def make_frames(scene: AblationScene, targets: list[Target]) -> dict[str, Clip]:
    """What each backbone makes of the targets' cameras."""
    cameras = Cameras.concatenate([target.camera for target in targets])
    request = request_for(scene.scene, cameras)
    return {
        name: make_backbone(name).generate_clip(request, SilentProgress()) for name in BACKBONES
    }


def frame_rows(
    scene: AblationScene, targets: list[Target], made: dict[str, Clip]
) -> Iterator[dict[str, Any]]:
    """Scores of the frames themselves."""
    truth = torch.stack([target.photo for target in targets])
    valid = torch.stack([target.valid for target in targets])
    for backbone, clip in made.items():
        assert clip.confidence is not None
        seen = clip.confidence > FILLED
        yield {
            "scene": scene.name,
            "what": f"frames of {backbone}",
            "psnr": psnr(clip.frames, truth, valid),
            "ssim": ssim(clip.frames, truth, valid),
            "covered": float(seen.float().mean()),
            "psnr_in_holes": psnr(clip.frames, truth, valid & ~seen),
        }


def fits(scene: AblationScene, options: FitOptions, seed: int) -> Iterator[tuple[str, FitResult]]:
    """Fits without generated frames, and with those of each backbone."""
    yield "captured photos", fit_gaussians(scene.scene, None, options=options, seed=seed)
    path = make_path(scene.scene, PathOptions(kind="interpolate", frames=FRAMES))
    for backbone in BACKBONES:
        views = sample_views(make_backbone(backbone), scene.scene, path, seed=seed)
        trained = replace(options, train_on_generated=True)
        fit = fit_gaussians(scene.scene, views, options=trained, seed=seed)
        yield f"and frames of {backbone}", fit


def fit_row(scene: AblationScene, name: str, fit: FitResult, seed: int) -> dict[str, Any]:
    """Scores of a fit."""
    row = score_gaussians(name, "", fit.gaussians, scene.targets, background=fit.background)
    measures = {score: row.mean(score) for score in ("psnr", "ssim", "covered")}
    return {"scene": scene.name, "what": name, "seed": seed, **measures}


def draw(
    scene: AblationScene, targets: list[Target], made: dict[str, Clip], seen: dict[str, FitResult]
) -> Section:
    """Unseen photos beside what everybody makes of them."""
    rows = []
    for index, target in enumerate(targets):
        tiles = [Tile(picture=target.photo, caption=target.name)]
        for name, clip in made.items():
            score = psnr(clip.frames[index], target.photo, target.valid)
            caption = f"frames of {name}: {score:.2f} dB"
            tiles.append(Tile(picture=clip.frames[index], caption=caption))
        for name, fit in seen.items():
            with torch.no_grad():
                shown = render_gaussians(fit.gaussians, target.camera).colour[0].clamp(0, 1)
            caption = f"{name}: {psnr(shown, target.photo, target.valid):.2f} dB"
            tiles.append(Tile(picture=shown, caption=caption))
        rows.append(tiles)
    return Section(heading=scene.name, rows=rows, columns=len(rows[0]), tile_height=240)


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Means over seeds, as Markdown."""
    lines = [
        "| scene | what | PSNR | SSIM | covered | PSNR in holes |",
        "|---|---|---|---|---|---|",
    ]
    for scene, what in dict.fromkeys((row["scene"], row["what"]) for row in rows):
        same = [row for row in rows if (row["scene"], row["what"]) == (scene, what)]
        mean = {
            name: fmean(row[name] for row in same)
            for name in ("psnr", "ssim", "covered", "psnr_in_holes")
            if name in same[0]
        }
        holes = f"{mean['psnr_in_holes']:.2f}" if "psnr_in_holes" in mean else ""
        lines.append(
            f"| {scene} | {what} | {mean['psnr']:.2f} | {mean['ssim']:.3f} | "
            f"{100 * mean['covered']:.1f} % | {holes} |"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Measure everything; write JSON, table and picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=256, help="long side of all pictures")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--gaussians", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "end-to-end")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    base = FitOptions(steps=given.steps, max_gaussians=given.gaussians)
    rows, sections = [], []
    for folder in given.folders:
        scene = prepare(folder.resolve(), given.size, given.work)
        targets: list[Target] = []
        for seed in range(given.seeds):
            seen = dict(fits(scene, base, seed))
            if seed == 0:
                targets = refined(scene, seen["captured photos"].gaussians)
                made = make_frames(scene, targets)
                rows += frame_rows(scene, targets, made)
                if folder.name == OURS:
                    sections.append(draw(scene, targets, made, seen))
            rows += [fit_row(scene, name, fit, seed) for name, fit in seen.items()]
            print(json.dumps(rows[-len(seen) :], indent=1), flush=True)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        **{name: getattr(given, name) for name in ("size", "steps", "gaussians", "seeds")},
        "rows": rows,
    }
    stem = given.out / f"end-to-end-{datetime.now(UTC):%Y-%m-%d}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    write_table(rows, stem.with_suffix(".md"))
    if sections:
        write_picture(given.work / "end-to-end.png", draw_sheet("End to end", sections))
    print(stem.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
