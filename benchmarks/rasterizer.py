"""Time the rasterizers on one scene, side by side, and write the figures down.

Run from the repository's root: `python benchmarks/rasterizer.py`. All backends draw the same scene
in turn within one run, so that what else the machine does falls on all of them; the minimum says
what the code costs, the median what one gets. Gradients are taken of every input. As in a fit,
torch keeps to one thread while numba has the processor; the others get all that torch takes.

`--opensplat MODULE.so` draws with OpenSplat's CPU code too (github.com/pierotofy/OpenSplat, AGPL,
so nothing of it lies here). Build it elsewhere, by `torch.utils.cpp_extension.load` with -O3, from
its project_gaussians.cpp, rasterize_gaussians.cpp and rasterizer/gsplat-cpu/gsplat_cpu.cpp, and a
file that exports `draw(means, quats, scales, opacities, colors, viewmat, projmat, fx, fy, cx, cy,
width, height, background)`: the picture that RasterizeGaussiansCPU::apply makes of what
ProjectGaussiansCPU::apply returns, its depths made contiguous, as the sorting takes them to be. It
draws colour alone, so less is differentiated.
"""

import argparse
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from scenes import KINDS, RasterizerInputs, make_inputs
from torch import Tensor

from reconx.progress import measure_usage
from reconx.render.rasterizers.registry import RASTERIZERS, make_rasterizer
from reconx.render.threads import one_torch_thread

Draw = Callable[..., tuple[Tensor, ...]]
Size = tuple[int, int]

JOBS = ((20_000, 256, 256), (60_000, 256, 256), (80_000, 512, 384))
"""Gaussians, width and height; the last is what a fit draws."""
NEAR, FAR = 0.5, 100.0
"""Planes that OpenSplat's projection is given, around all depths of the scenes."""
SAME_PICTURE = 1e-2
"""Colours of two backends differ by less, but for one pixel in a thousand."""


def load_opensplat(path: Path) -> Callable[..., tuple[Tensor]]:
    """OpenSplat's CPU code, called as our rasterizers are; returns colour alone."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no module of Python. Give the .so file that was built.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    background = torch.zeros(3)

    def draw(*inputs: Any) -> tuple[Tensor]:
        means, quats, scales, opacities, colors, viewmats, Ks, width, height = inputs
        fx, fy, cx, cy = Ks[0, [0, 1, 0, 1], [0, 1, 2, 2]].tolist()
        projection = torch.zeros(4, 4)
        projection[0, 0], projection[1, 1] = 2 * fx / width, 2 * fy / height
        # It sorts by the projected z, which must therefore rise with depth.
        projection[2, 2], projection[2, 3] = FAR / (FAR - NEAR), -FAR * NEAR / (FAR - NEAR)
        projection[3, 2] = 1.0
        sizes = (fx, fy, cx, cy, width, height, background)
        alone = (means, quats, scales, opacities[:, None], colors[0], viewmats[0], projection)
        return (module.draw(*alone, *sizes)[None],)

    return draw


def forward(draw: Draw, tensors: RasterizerInputs, width: int, height: int) -> None:
    """Draw without gradients."""
    with torch.no_grad():
        draw(*tensors, width, height)


def forward_backward(draw: Draw, tensors: RasterizerInputs, width: int, height: int) -> None:
    """Draw, and take gradients of all pictures' sums."""
    pictures = draw(*tensors, width, height)
    ones = [torch.ones_like(picture) for picture in pictures]
    torch.autograd.grad(pictures, tensors, ones, allow_unused=True)


def check_pictures(backends: dict[str, Draw], tensors: RasterizerInputs, size: Size) -> None:
    """Stop unless all backends draw the same."""
    with torch.no_grad():
        colours = {name: draw(*tensors, *size)[0] for name, draw in backends.items()}
    for name, colour in colours.items():
        error = float(
            (colour - colours["torch"])
            .abs()
            .flatten()
            .kthvalue(round(0.999 * colour.numel()))
            .values
        )
        if not error < SAME_PICTURE:
            raise SystemExit(f"{name} draws another picture than torch: colours differ by {error}.")


def time_call(call: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor milliseconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)


def measure(
    backends: dict[str, Draw], job: tuple[int, int, int], kind: str, seconds: float
) -> list[dict[str, object]]:
    """Figures of every backend and direction on one scene."""
    count, *size = job
    tensors = make_inputs(count, *size, kind=kind)
    check_pictures(backends, tensors, (size[0], size[1]))
    rows = []
    for direction in (forward, forward_backward):
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in backends}
        peaks = dict.fromkeys(backends, 0.0)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or min(map(len, times.values())) < 5:
            for name, draw in backends.items():
                call = partial(direction, draw, tensors, size[0], size[1])
                with _threads(name), measure_usage() as usage:
                    times[name].append(time_call(call))
                peaks[name] = max(peaks[name], usage.peak_memory_mb)
        walls = {name: [wall for wall, _ in runs] for name, runs in times.items()}
        for name, runs in times.items():
            row = {
                "rasterizer": name,
                "kind": kind,
                "gaussians": count,
                "size": size,
                "job": direction.__name__,
                "runs": len(runs),
                "wall_ms_min": round(min(walls[name]), 2),
                "wall_ms_median": round(_median(walls[name]), 2),
                "processor_ms_min": round(min(processor for _, processor in runs), 2),
                "peak_megabytes_of_process": round(peaks[name], 1),
            }
            for other in ("torch", "opensplat"):
                if other in walls:
                    ratio = min(walls[other]) / min(walls[name])
                    row[f"times_faster_than_{other}"] = round(ratio, 2)
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def _threads(name: str) -> AbstractContextManager[None]:
    return one_torch_thread("cpu") if name == "numba" else nullcontext()


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def first_calls(backends: dict[str, Draw]) -> dict[str, float]:
    """Seconds of each backend's first run: import, and compilation or loading from its cache."""
    tensors = make_inputs(100, 64, 64, kind="random")
    seconds = {}
    for name, draw in backends.items():
        wall, _ = time_call(partial(forward_backward, draw, tensors, 64, 64))
        seconds[name] = round(wall / 1e3, 2)
    return seconds


def main() -> None:
    """Measure everything and write one JSON file."""
    parser = argparse.ArgumentParser(description="Time the rasterizers.")
    parser.add_argument("--seconds", type=float, default=10, help="per scene and direction")
    parser.add_argument("--jobs", type=int, nargs="+", default=range(len(JOBS)), help="of JOBS")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--opensplat", type=Path, help="a module of its CPU code, see above")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()

    names = [name for name in ("torch", "numba") if not RASTERIZERS[name].missing()]
    backends: dict[str, Draw] = {name: make_rasterizer(name) for name in names}
    if options.opensplat:
        backends["opensplat"] = load_opensplat(options.opensplat)
    began = os.getloadavg() if hasattr(os, "getloadavg") else None
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numba", "numpy")},
        },
        "torch_threads": torch.get_num_threads(),
        "load_average_before": began,
        "note": options.note,
        "first_call_seconds": first_calls(backends),
        "figures": [
            row
            for kind in options.kinds
            for job in options.jobs
            for row in measure(backends, JOBS[job], kind, options.seconds)
        ],
    }
    path = options.out / f"rasterizer-{datetime.now(UTC):%Y-%m-%d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
