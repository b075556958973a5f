"""Time the rasterizers on one scene, side by side, and write the figures down.

Run from the repository's root: `python benchmarks/rasterizer.py`. All backends draw the same scene
in turn within one run, so that what else the machine does falls on all of them; the minimum says
what the code costs, the median what one gets. Gradients are taken of every input.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from scenes import KINDS, make_gaussians
from torch import Tensor

from reconx.render.rasterizers.base import Rasterizer
from reconx.render.rasterizers.registry import RASTERIZERS, make_rasterizer

SIZE = 256
COUNTS = (20_000, 60_000)
Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""means, quats, scales, opacities, colors, viewmats, Ks."""


def prepare(count: int, kind: str) -> Inputs:
    """The rasterizer's tensors, asking for gradients."""
    gaussians, cameras = make_gaussians(count, SIZE, SIZE, kind=kind)
    tensors = (
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.sh[None, :, 0].contiguous(),
        cameras.viewmats,
        cameras.K,
    )
    for tensor in tensors:
        tensor.requires_grad_()
    return tensors


def forward(draw: Rasterizer, tensors: Inputs) -> None:
    """Draw without gradients."""
    with torch.no_grad():
        draw(*tensors, SIZE, SIZE)


def forward_backward(draw: Rasterizer, tensors: Inputs) -> None:
    """Draw, and take gradients of all pictures' sums."""
    pictures = draw(*tensors, SIZE, SIZE)
    torch.autograd.grad(pictures, tensors, [torch.ones_like(picture) for picture in pictures])


def time_call(call: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor milliseconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)


def measure(names: list[str], count: int, kind: str, seconds: float) -> list[dict[str, object]]:
    """Figures of every backend and direction on one scene."""
    tensors = prepare(count, kind)
    backends = {name: make_rasterizer(name) for name in names}
    rows = []
    for job in (forward, forward_backward):
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or min(map(len, times.values())) < 5:
            for name, draw in backends.items():
                times[name].append(time_call(lambda draw=draw, job=job: job(draw, tensors)))
        walls = {name: [wall for wall, _ in runs] for name, runs in times.items()}
        for name, runs in times.items():
            rows.append(
                {
                    "rasterizer": name,
                    "kind": kind,
                    "gaussians": count,
                    "job": job.__name__,
                    "runs": len(runs),
                    "wall_ms_min": round(min(walls[name]), 2),
                    "wall_ms_median": round(_median(walls[name]), 2),
                    "processor_ms_min": round(min(processor for _, processor in runs), 2),
                    "times_faster_than_torch": round(min(walls["torch"]) / min(walls[name]), 2),
                }
            )
            print(json.dumps(rows[-1]))
    return rows


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def first_calls(names: list[str]) -> dict[str, float]:
    """Seconds of each backend's first run: import, and compilation or loading from its cache."""
    tensors = prepare(100, "random")
    seconds = {}
    for name in names:
        wall, _ = time_call(lambda name=name: forward_backward(make_rasterizer(name), tensors))
        seconds[name] = round(wall / 1e3, 2)
    return seconds


def main() -> None:
    """Measure everything and write one JSON file."""
    parser = argparse.ArgumentParser(description="Time the rasterizers.")
    parser.add_argument("--seconds", type=float, default=10, help="per scene and direction")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()

    names = [name for name, spec in RASTERIZERS.items() if not spec.missing()]
    began = os.getloadavg() if hasattr(os, "getloadavg") else None
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numba", "numpy")},
        },
        "torch_threads": torch.get_num_threads(),
        "size": [SIZE, SIZE],
        "load_average_before": began,
        "note": options.note,
        "first_call_seconds": first_calls(names),
        "figures": [
            row
            for kind in KINDS
            for count in options.counts
            for row in measure(names, count, kind, options.seconds)
        ],
    }
    path = options.out / f"rasterizer-{datetime.now(UTC):%Y-%m-%d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
