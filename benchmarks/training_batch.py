"""What a batch of clips costs the trainer: its structure at once or clip by clip, and its making.

Run from the repository's root: `python benchmarks/training_batch.py --device cuda`. No weights and
no data are needed. One attention's branch goes forward and back for a batch of small clips, each
with tokens of its own, at once and clip by clip in turns within one run, so that what else the
machine does falls on both. On a CPU, processor seconds are counted; on a GPU, wall time.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from reconx.datasets.procedural.dataset import ProceduralOptions, ProceduralScenes
from reconx.structure.adapter import Branch
from reconx.structure.points import choose_points
from reconx.training.cutting import ClipCutter
from reconx.training.options import ClipOptions, CloudOptions, DataOptions
from reconx.video.base import BackboneSpec

CLIPS, HEADS, WIDTH = 16, 4, 128
QUERIES, TOKENS = 512, 128
"""Positions of a clip of 8 x 32 x 32 in patches of 4 x 4, and tokens that they read."""
SPEC = BackboneSpec(name="benchmark", factory="none", keyframes="first_last")


def measure_branch(device: str, runs: int) -> dict[str, list[float]]:
    """Seconds of a batch, forward and back."""
    torch.manual_seed(0)
    branch = Branch(WIDTH, WIDTH, None, 0.5).to(device)
    query = torch.randn(CLIPS, HEADS, QUERIES, WIDTH // HEADS, device=device)
    tokens = torch.randn(CLIPS, TOKENS, WIDTH, device=device, requires_grad=True)

    def at_once() -> None:
        branch(query, tokens, clips=CLIPS).square().mean().backward()

    def clip_by_clip() -> None:
        parts = zip(query.split(1), tokens.split(1), strict=True)
        torch.cat([branch(asking, told) for asking, told in parts]).square().mean().backward()

    return in_turns({"at once": at_once, "clip by clip": clip_by_clip}, device, runs)


def measure_clips(runs: int) -> dict[str, list[float]]:
    """Seconds of one procedural clip of 8 frames with its cloud, at two sizes."""
    calls: dict[str, Callable[[], None]] = {}
    for side in (32, 64):
        clip = ClipOptions(frames=8, width=side, height=side, skip=4)
        sizes = {"scenes": 100, "width": side, "height": side}
        worlds = ProceduralScenes(ProceduralOptions(**sizes))
        data, cloud = (
            [DataOptions(kind="procedural", scenes=100, clips=100)],
            CloudOptions(size=side),
        )
        cutter = ClipCutter(data, clip, cloud, SPEC, seed=0, device="cpu")
        made = cutter.cut(0)
        calls[f"draw {side}"] = lambda worlds=worlds: worlds._draw("1", tuple(range(8))) and None
        calls[f"cut {side}"] = lambda cutter=cutter: cutter.cut(1) and None
        calls[f"points {side}"] = lambda made=made: (
            choose_points(made.scene, made.cameras[0], points=1024, queries=TOKENS) and None
        )
    return in_turns(calls, "cpu", runs)


def in_turns(
    calls: dict[str, Callable[[], None]], device: str, runs: int
) -> dict[str, list[float]]:
    """Seconds of each call, one after the other in every turn; the first turn is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for turn in range(runs + 1):
        for name, call in calls.items():
            began = clock()
            call()
            if device != "cpu":
                torch.cuda.synchronize()
            if turn > 0:
                seconds[name].append(clock() - began)
    return seconds


def main() -> None:
    """Measure, print, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    measured = measure_branch(options.device, options.runs) | measure_clips(options.runs)
    minima = {name: min(times) for name, times in measured.items()}
    gpu = options.device != "cpu"
    report = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "processors": os.cpu_count(),
        "load": load,
        "torch": torch.__version__,
        "batch": {"clips": CLIPS, "queries": QUERIES, "tokens": TOKENS, "width": WIDTH},
        "seconds": {
            name: {"min": min(times), "median": statistics.median(times)}
            for name, times in measured.items()
        },
        "clip_by_clip_to_at_once": minima["clip by clip"] / minima["at once"],
    }
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"training-batch-{'gpu' if gpu else 'cpu'}-{report['date']}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, seconds in minima.items():
        print(f"{name}: {1000 * seconds:.1f} ms")
    print(f"clip by clip takes {report['clip_by_clip_to_at_once']:.2f} times as long as at once")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
