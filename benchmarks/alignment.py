"""Compare the alignment with the recipe of DUSt3R's own, and write the figures down.

Run from the repository's root: `python benchmarks/alignment.py`. One thread. Both work on the same
pairs in one run, ours again and again between the other's steps, so that what else the machine does
falls on both. Times are the processor's; `min` says what the code costs, `median` what one gets;
ours are of whole alignments, from pairs to cleaned confidence, the recipe's of its 300 steps alone.

With `--official PATH`, a checkout of github.com/naver/dust3r whose requirements are installed, its
own aligner runs, too, between the same steps: from the start that it finds itself, which our
version of the recipe then shares.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import torch
from adam_alignment import STEPS, AdamAlignment, AdamResult
from growth_plot import plot_growth
from jaxtyping import Float
from torch import Tensor

from reconx.evaluation.pointmaps import (
    cast_room,
    complete_pairs,
    predict_pairs,
    ring_cameras,
    ring_pairs,
)
from reconx.geometry.align.alignment import Alignment, align_pairs
from reconx.geometry.align.graph import pair_scores
from reconx.geometry.align.observations import draw_samples, keep_pairs
from reconx.geometry.align.registration import fit_similarities
from reconx.geometry.align.start import start_from_tree
from reconx.geometry.align.variables import Variables, complete_prior
from reconx.ops.projection import unproject_depth
from reconx.ops.se3 import rotation_angle_degrees
from reconx.progress import measure_usage
from reconx.types import Cameras, PairPointmaps

CASES = ((2, 224, 224), (3, 512, 384))
"""Views, width, height."""
GROWTH = (4, 8, 16, 32, 64)
"""Views on a ring, each paired with three on both sides (six where there are so many)."""
RUN_EVERY = 12
"""Steps of the recipe between two runs of ours."""


Result = TypeVar("Result")


@dataclass
class Times:
    """Processor seconds of repeated work."""

    seconds: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], Result]) -> Result:
        """Run once more."""
        began = time.process_time()
        result = work()
        self.seconds.append(time.process_time() - began)
        return result

    def figures(self, times: int = 1) -> dict[str, float]:
        """Of so many repetitions."""
        ordered = sorted(self.seconds)
        middle = ordered[len(ordered) // 2]
        return {"min": round(times * ordered[0], 4), "median": round(times * middle, 4)}


def compare(views: int, width: int, height: int, official: Path | None) -> dict[str, object]:
    """Both on complete pairs of one ring of cameras."""
    cameras = ring_cameras(views, width, height)
    depth = cast_room(cameras)
    pairs = list(predict_pairs(depth, cameras, complete_pairs(views)))
    names = [str(view) for view in range(views)]
    recipe, judge = _recipe(pairs, cameras), None
    if official is not None:
        from official_alignment import OfficialAlignment

        judge = OfficialAlignment(official, pairs)
        judge.start(recipe)
    ours, theirs, officials = Times(), Times(), Times()
    found = align_pairs(iter(pairs), names)  # warms caches up
    step, finish = recipe.descend()
    for k in range(STEPS):
        if k % RUN_EVERY == 0:
            ours.measure(lambda: align_pairs(iter(pairs), names))
        theirs.measure(lambda k=k: step(k))
        if judge is not None:
            officials.measure(lambda k=k: judge.step(k))
    adam = finish()
    row: dict[str, object] = {
        "views": views,
        "pairs": len(pairs),
        "size": [width, height],
        "ours": {"seconds": ours.figures(), **judge_result(found, cameras, depth)},
        "adam": {"seconds": theirs.figures(STEPS), **judge_result(adam, cameras, depth)},
        "rotation_between_degrees": round(worst_rotation(found.cameras, adam.cameras), 4),
    }
    row["times_faster"] = {
        kind: round(theirs.figures(STEPS)[kind] / ours.figures()[kind], 1)
        for kind in ("min", "median")
    }
    if judge is not None:
        row["official"] = {
            "seconds": officials.figures(STEPS),
            "loss": round(judge.loss, 6),
            "seconds_of_adam_by_official": round(
                theirs.figures()["median"] / officials.figures()["median"], 2
            ),
            "loss_of_adam_by_official": round(adam.loss / judge.loss, 5),
        }
    print(json.dumps(row))
    return row


def _recipe(pairs: list[PairPointmaps], cameras: Cameras) -> AdamAlignment:
    """The recipe at our own tree's start, with depths as the photos' own pairs give them."""
    observations = keep_pairs(iter(pairs), [str(view) for view in range(len(cameras))])
    known = complete_prior(None, len(cameras), cameras.width, cameras.height)
    samples = draw_samples(observations, len(cameras), 2000, seed=0)
    start = start_from_tree(samples, observations.edges, pair_scores(observations), known)
    start = replace(start, pair_scale=start.pair_scale / observations.unit)
    return AdamAlignment(pairs, known, start, _own_depths(pairs, start))


def _own_depths(pairs: list[PairPointmaps], start: Variables) -> Float[Tensor, "view pixel"]:
    """Z of each photo's first own pair, in the world's scale, and at least a little ahead."""
    own = {pair.i: e for e, pair in reversed(list(enumerate(pairs)))}
    depths = [
        float(start.pair_scale[own[view]]) * pairs[own[view]].points_i[..., 2].flatten()
        for view in sorted(own)
    ]
    return torch.stack(depths).clamp_min(1e-3)


def judge_result(
    found: Alignment | AdamResult, truth: Cameras, depth: Float[Tensor, "view height width"]
) -> dict[str, float]:
    """Loss, and errors after the robust similarity that lays the points onto the true ones."""
    points = unproject_depth(found.depth, found.cameras).view(1, -1, 3)
    goal = unproject_depth(depth, truth).view(1, -1, 3)
    known = points.isfinite().all(-1)
    points, goal = points[known][None], goal[known][None]
    few = torch.randperm(points.shape[1], generator=torch.Generator().manual_seed(0))[:20_000]
    fit = fit_similarities(points[:, few], goal[:, few], torch.ones(1, len(few)))
    miss = torch.linalg.vector_norm(fit.apply(points) - goal, dim=-1)
    turned = fit.rotation[0] @ found.cameras.camera_to_world[:, :3, :3]
    turns = rotation_angle_degrees(turned.mT @ truth.camera_to_world[:, :3, :3])
    return {
        "loss": round(found.loss, 6),
        "median_point_error": round(float(miss.median()), 5),
        "mean_rotation_error_degrees": round(float(turns.mean()), 4),
    }


def worst_rotation(first: Cameras, second: Cameras) -> float:
    """Greatest difference between relative rotations, in degrees."""
    turns = [cameras.camera_to_world[:, :3, :3].double() for cameras in (first, second)]
    relative = [turn[:, None].mT @ turn[None] for turn in turns]
    return float(rotation_angle_degrees(relative[0].mT @ relative[1]).max())


def grow(views: int, width: int, height: int) -> dict[str, object]:
    """One alignment of pairs that stream by, in this process: seconds and peak memory."""
    cameras = ring_cameras(views, width, height)
    depth = cast_room(cameras)
    reach = 3 if views > 6 else 1
    edges = ring_pairs(views, reach)
    spent = Times()

    def stream() -> Iterator[PairPointmaps]:
        """Pairs, with the time that making them takes counted apart."""
        source = predict_pairs(depth, cameras, edges)
        for _ in edges:
            yield spent.measure(lambda: next(source))

    total = Times()
    with measure_usage() as usage:
        found = total.measure(lambda: align_pairs(stream(), [str(view) for view in range(views)]))
    return {
        "views": views,
        "pairs": len(edges),
        "size": [width, height],
        "seconds": round(total.seconds[0] - math.fsum(spent.seconds), 2),
        "peak_memory_mb": round(usage.peak_memory_mb),
        **judge_result(found, cameras, depth),
    }


def grow_apart(views: int) -> dict[str, object]:
    """The same in a process of its own, whose memory is its alone."""
    command = [sys.executable, __file__, "--grow", str(views)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    row = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(row))
    return row


def main() -> None:
    """Measure everything; write one JSON file and a plot."""
    parser = argparse.ArgumentParser(description="Compare the alignment with DUSt3R's recipe.")
    parser.add_argument("--official", type=Path, help="a checkout of DUSt3R's code")
    parser.add_argument("--grow", type=int, help="align one ring of so many views, and stop")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.grow is not None:
        print(json.dumps(grow(options.grow, 512, 384)))
        return
    began = os.getloadavg() if hasattr(os, "getloadavg") else None
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "scipy")},
        },
        "torch_threads": torch.get_num_threads(),
        "load_average_before": began,
        "note": options.note,
        "cases": [compare(*case, options.official) for case in CASES],
        "growth": [grow_apart(views) for views in GROWTH],
    }
    path = options.out / f"alignment-{datetime.now(UTC):%Y-%m-%d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    plot_growth(
        report["growth"],
        path.with_suffix(".png"),
        over="pairs",
        axis="pairs, 512 x 384",
        threads="one thread",
    )
    print(path)


if __name__ == "__main__":
    main()
