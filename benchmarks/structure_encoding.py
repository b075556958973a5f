"""How long a scene takes to become structure tokens, from 500 000 measured points.

Run from the repository's root: `python benchmarks/structure_encoding.py`. Thinning out and the
encoder's network are timed apart, in turns within one run, and beside them plain attention of the
same number of tokens to all points, which is what thinning out saves. Random weights.
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
from typing import Any

import torch
from torch.nn import functional

from reconx.structure.encoder import EncoderSizes, StructureEncoder, encode_structure
from reconx.structure.points import choose_points
from reconx.types import Cameras, Photos, Scene, SceneSource, Sim3

VIEWS, HEIGHT, WIDTH = 3, 384, 434
"""Half a million pixels."""


def make_scene() -> Scene:
    """A waving surface, measured in every pixel of three photos."""
    generator = torch.Generator().manual_seed(0)
    shape = (VIEWS, HEIGHT, WIDTH)
    x, y = (torch.rand(shape, generator=generator) * side - side / 2 for side in (4.0, 3.0))
    K = torch.tensor([[400.0, 0, WIDTH / 2], [0, 400.0, HEIGHT / 2], [0, 0, 1]])
    cameras = Cameras(
        camera_to_world=torch.eye(4).repeat(VIEWS, 1, 1),
        K=K.repeat(VIEWS, 1, 1),
        width=WIDTH,
        height=HEIGHT,
    )
    photos = Photos(
        images=torch.rand(*shape, 3, generator=generator),
        valid=torch.ones(shape, dtype=torch.bool),
        names=tuple(f"{view}.png" for view in range(VIEWS)),
        original_sizes=((WIDTH, HEIGHT),) * VIEWS,
        to_original=torch.eye(3).repeat(VIEWS, 1, 1),
    )
    return Scene(
        photos=photos,
        photo_cameras=cameras,
        cameras=cameras,
        points=torch.stack([x, y, 2 + torch.sin(2 * x) * torch.cos(3 * y)], -1),
        confidence=torch.full(shape, 10.0),
        valid=torch.ones(shape, dtype=torch.bool),
        up=torch.tensor([0.0, -1.0, 0.0]),
        world_from_scene=Sim3.identity(),
        source=SceneSource(estimator="synthetic"),
    )


def time_in_turns(calls: dict[str, Callable[[], Any]], runs: int) -> dict[str, dict[str, float]]:
    """Minimum and median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(runs + 1):  # the first warms up and is dropped
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn > 0:
                seconds[name].append(time.perf_counter() - began)
    return {
        name: {"min_seconds": min(times), "median_seconds": statistics.median(times)}
        for name, times in seconds.items()
    }


def main() -> None:
    """Measure, print, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    sizes, scene = EncoderSizes(), make_scene()
    encoder, camera = StructureEncoder(sizes).eval(), scene.cameras[0]
    count, heads = scene.confidence.numel(), sizes.heads
    query = torch.randn(1, heads, sizes.queries, sizes.width // heads)
    key = torch.randn(1, heads, count, sizes.width // heads)
    calls: dict[str, Callable[[], Any]] = {
        "encode_structure": lambda: encode_structure(scene, camera, encoder),
        "choose_points": lambda: choose_points(
            scene, camera, points=sizes.points, queries=sizes.queries
        ),
        "attention to all points": lambda: functional.scaled_dot_product_attention(query, key, key),
    }
    measured = time_in_turns(calls, options.runs)
    whole, plain = measured["encode_structure"], measured["attention to all points"]
    report = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "torch": torch.__version__,
        "points": count,
        "measured": measured,
        "times_faster_than_attention_to_all_points": plain["min_seconds"] / whole["min_seconds"],
    }
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"structure-encoding-{report['date']}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, figures in measured.items():
        print(f"{name}: min {figures['min_seconds']:.2f} s, median {figures['median_seconds']:.2f}")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
