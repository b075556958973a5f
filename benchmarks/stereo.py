"""Time and judge dense stereo on the sample room, whose depth is known, and write the figures down.

Run from the repository's root: `python benchmarks/stereo.py`. True cameras go in, so that only
dense stereo is measured. One thread; every figure is processor time per pixel and source view. All
matchers and efforts take turns within one run, each in a process of its own for the sake of its
peak memory; the minimum says what the code costs, the median what one gets. Compilation is not in
the figures: a small picture is matched first.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from reconx.export.nerfstudio import read_splits, read_transforms
from reconx.export.posed import read_depth
from reconx.geometry.stereo.dense import EFFORTS, StereoInput, estimate_depth
from reconx.geometry.stereo.matcher import MATCHERS
from reconx.geometry.stereo.neighbours import choose_sources, sparse_depths
from reconx.geometry.stereo.sfm import reconstruct_sparse
from reconx.ops.image import luminance
from reconx.ops.photos import resize_photos
from reconx.ops.projection import inside_image, project_points, unproject_depth
from reconx.photos.loading import load_photos
from reconx.progress import SilentProgress
from reconx.types import CONFIDENT, CameraPrior, Cameras

ROOM = Path(__file__).parents[1] / "assets" / "sample-room"
WIDTH, HEIGHT = 512, 384
TEXTURE = 0.02
"""Least standard deviation of the luminance in the 9 x 9 pixels around a textured one."""
WRONG = 0.02
"""Relative error of a depth beyond which it is wrong."""


def load_room(split: str) -> tuple[StereoInput, Float[Tensor, "view h w"]]:
    """The photos of a split with their true cameras, and their true depth."""
    posed = read_transforms(ROOM)
    index = [posed.names.index(name) for name in read_splits(ROOM)[split].context]
    photos = load_photos([posed.paths[i] for i in index])
    truth = Cameras.concatenate([posed.cameras[i] for i in index])
    prior = CameraPrior(
        K=truth.resized(photos.width, photos.height).K,
        camera_to_world=truth.camera_to_world,
        distortion=torch.zeros(len(index), 2),
    )
    sparse = reconstruct_sparse(replace(photos, prior=prior), 0, SilentProgress())
    small, cameras = resize_photos(photos, WIDTH, HEIGHT), sparse.cameras.resized(WIDTH, HEIGHT)
    stereo = StereoInput(
        images=small.images,
        valid=small.valid,
        cameras=cameras,
        sources=choose_sources(sparse, 4),
        anchors=tuple(sparse_depths(sparse, view, cameras[view]) for view in range(len(cameras))),
    )
    return stereo, torch.stack([read_depth(posed, i) for i in index])


def find_textured(images: Float[Tensor, "view h w 3"]) -> Bool[Tensor, "view h w"]:
    """True where the surroundings vary at all."""
    grey = functional.pad(luminance(images)[:, None], (4,) * 4, mode="replicate")
    mean = functional.avg_pool2d(grey, 9, stride=1)
    variance = functional.avg_pool2d(grey.square(), 9, stride=1) - mean.square()
    return (variance > TEXTURE**2)[:, 0]


def find_shared(depth: Float[Tensor, "view h w"], cameras: Cameras) -> Bool[Tensor, "view h w"]:
    """True where another photo shows the same point, by the true depths."""
    points = unproject_depth(depth, cameras).flatten(1, 2)
    shared = torch.zeros(points.shape[:2], dtype=torch.bool)
    for view in range(len(cameras)):
        for other in range(len(cameras)):
            if other != view:
                camera = cameras[other]
                pixels, z = project_points(points[view], camera.viewmats[0], camera.K[0])
                lands = (z > 0) & inside_image(pixels, WIDTH, HEIGHT)
                column, row = pixels[lands].long().unbind(-1)
                shared[view, lands] |= z[lands] < depth[other, row, column] * (1 + WRONG)
    return shared.view(depth.shape)


def measure(split: str, matcher: str, effort: str) -> dict[str, object]:
    """One run, in this process."""
    torch.set_num_threads(1)
    stereo, depth = load_room(split)
    progress = SilentProgress()
    tiny = replace(
        stereo,
        images=stereo.images[:, ::8, ::8],
        valid=stereo.valid[:, ::8, ::8],
        cameras=stereo.cameras.resized(WIDTH // 8, HEIGHT // 8),
    )
    tiny = replace(tiny, anchors=tuple(a * torch.tensor([1 / 8, 1 / 8, 1]) for a in stereo.anchors))
    estimate_depth(tiny, device="cpu", seed=0, progress=progress, matcher=matcher, effort="fast")
    before = _peak_mb()  # of loading and structure from motion
    began = time.process_time()
    maps = estimate_depth(
        stereo, device="cpu", seed=0, progress=progress, matcher=matcher, effort=effort
    )
    seconds = time.process_time() - began
    judged = sum(map(len, stereo.sources)) * WIDTH * HEIGHT
    valid = maps.confidence >= CONFIDENT
    error = (maps.depth / depth - 1).abs()
    textured, shared = find_textured(stereo.images), find_shared(depth, stereo.cameras)
    return {
        "microseconds": 1e6 * seconds / judged,
        "textured_valid": float(valid[textured].float().mean()),
        "textured_shared_valid": float(valid[textured & shared].float().mean()),
        "shared_of_textured": float(shared[textured].float().mean()),
        "valid": float(valid.float().mean()),
        "beyond_two_percent": float((error > WRONG)[valid].float().mean()),
        "median_error": float(error[valid].median()),
        "peak_memory_before_mb": before,
        "peak_memory_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    """Of this process; where the system does not tell, what it holds now."""
    try:
        import resource
    except ImportError:  # Windows
        return psutil.Process().memory_info().rss / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def measure_apart(split: str, matcher: str, effort: str) -> dict[str, float]:
    """One run, in a process of its own with one thread."""
    command = [sys.executable, __file__, "--one", split, matcher, effort]
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=os.environ | threads, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def summarise(
    runs: dict[tuple[str, str, str], list[dict[str, float]]],
) -> list[dict[str, object]]:
    """A row per split, matcher and effort; quality is the same in every run."""
    rows: list[dict[str, object]] = []
    for (split, matcher, effort), results in runs.items():
        times = [result["microseconds"] for result in results]
        row: dict[str, object] = {
            "split": split,
            "matcher": matcher,
            "effort": effort,
            "runs": len(results),
            "microseconds_min": round(min(times), 2),
            "microseconds_median": round(statistics.median(times), 2),
            "peak_memory_before_mb": round(results[0]["peak_memory_before_mb"]),
            "peak_memory_mb": round(max(result["peak_memory_mb"] for result in results)),
        }
        row |= {
            key: round(value, 4)
            for key, value in results[0].items()
            if key not in ("microseconds", "peak_memory_mb", "peak_memory_before_mb")
        }
        torch_runs = runs.get((split, "torch", effort))
        if torch_runs:
            least = min(result["microseconds"] for result in torch_runs)
            row["times_faster_than_torch"] = round(least / min(times), 2)
        rows.append(row)
    return rows


def main() -> None:
    """Measure everything and write one JSON file."""
    parser = argparse.ArgumentParser(description="Time and judge dense stereo.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--splits", nargs="+", default=["three", "two"])
    parser.add_argument("--matchers", nargs="+", default=sorted(MATCHERS))
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return

    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    jobs = [(s, "numba", e) for s in options.splits for e in EFFORTS if "numba" in options.matchers]
    # The schedules mean the same to both; torch once per split is enough for the ratio.
    jobs += [(s, "torch", "normal") for s in options.splits if "torch" in options.matchers]
    runs: dict[tuple[str, str, str], list[dict[str, float]]] = {job: [] for job in jobs}
    for _ in range(options.runs):
        for job in jobs:
            runs[job].append(measure_apart(*job))
            print(*job, runs[job][-1], flush=True)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numba", "numpy")},
        },
        "load_average_before": load,
        "note": options.note,
        "size": [WIDTH, HEIGHT],
        "threads": 1,
        "rows": summarise(runs),
    }
    path = options.out / f"stereo-{datetime.now(UTC):%Y-%m-%d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
