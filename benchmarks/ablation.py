"""What each option of the fit is worth on unseen views, and write it down.

Run from the repository's root:
`python benchmarks/ablation.py assets/sample-room FOLDER ...`, each a folder of photos with
`transforms.json` and `splits.json`. The first of the splits "two" and "easy2" goes in, without its
cameras. Fits on photos alone, on photos with warped frames between them, and on photos with other
photos that are spoilt like frames of a poor video model. Per kind, one option at a time is changed
from the defaults; all else and the seeds stay. Unseen views are scored as in `evaluate`.

The same command goes on where it stopped: geometry is kept, and each fit is a line in `rows.jsonl`.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ablation_scenes import AblationScene, prepare
from ablation_table import draw_gains, write_table

from reconx.evaluation.targets import score_gaussians
from reconx.splats.fit import FitOptions, fit_gaussians

ROOT = Path(__file__).resolve().parents[1]
Options = Mapping[str, Any]
"""Fields of `FitOptions`."""

PHOTOS: Mapping[str, Options] = {
    "defaults": {},
    "fixed cameras": {"refine_poses": False},
    "no depth term": {"depth_weight": 0.0},
    "no colour maps": {"adapt_colours": "none"},
    "robust masks": {"robust_after": 0.3},
    "perceptual term, no weights": {"perceptual_weight": 0.5},
    "no background": {"background": False},
    "view-dependent colours": {"sh_degree": 3},
}
"""Options that photos alone can tell apart."""
FRAMES: Mapping[str, Options] = {
    **PHOTOS,
    "no confidence weights": {"confidence_weights": False},
    "fixed cameras of frames": {"refine_generated_poses": False},
    "colour maps of frames only": {"adapt_colours": "generated"},
    "annealing by distance": {"annealing": 15.0},
}
"""Options that frames can tell apart."""


def find_arms(scene: AblationScene) -> Iterator[tuple[str, str, Options]]:
    """Kind of training pictures, name and changed options of every fit."""
    for name, changes in PHOTOS.items():
        yield "photos", name, changes
    for kind in scene.views:
        for name, changes in FRAMES.items():
            yield kind, name, {**changes, "train_on_generated": True}


def score(
    scene: AblationScene, kind: str, changes: Options, seed: int, base: FitOptions
) -> dict[str, float]:
    """Fit once and score the unseen views."""
    began = time.process_time()
    options = replace(base, **changes)
    fit = fit_gaussians(scene.scene, scene.views.get(kind), options=options, seed=seed)
    seconds = time.process_time() - began
    row = score_gaussians("fit", "", fit.gaussians, scene.targets, background=fit.background)
    measures = {name: round(row.mean(name), 4) for name in ("psnr", "ssim", "psnr_covered")}
    return measures | {"processor_seconds": round(seconds, 2)}


def main() -> None:
    """Run what is not done yet; write JSON, table and figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=192, help="long side of all pictures")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--gaussians", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", help="only these: photos, warped, spoilt")
    parser.add_argument("--arms", nargs="+", help="only these, and the defaults")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "ablation")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    log = given.work / "rows.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    base = FitOptions(steps=given.steps, max_gaussians=given.gaussians)
    setting = {"size": given.size, "steps": given.steps, "gaussians": given.gaussians}
    scenes = [prepare(folder.resolve(), given.size, given.work) for folder in given.folders]
    for seed in range(given.seeds):
        for scene in scenes:
            for kind, arm, changes in find_arms(scene):
                key = {"scene": scene.name, "kind": kind, "arm": arm, "seed": seed, **setting}
                if any(row.items() >= key.items() for row in rows):
                    continue
                if given.kinds and kind not in given.kinds:
                    continue
                if given.arms and arm not in (*given.arms, "defaults"):
                    continue
                row = key | score(scene, kind, changes, seed, base)
                rows.append(row)
                print(json.dumps(row), flush=True)
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    rows = [row for row in rows if row.items() >= setting.items()]
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "load_average_before": load,
        **setting,
        "rows": rows,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    results = ROOT / "benchmarks" / "results" / f"ablation-{datetime.now(UTC):%Y-%m-%d}.json"
    results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    write_table(rows, setting, given.out / "ablation.md")
    draw_gains(rows, given.out / "ablation.png")
    print((given.out / "ablation.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
