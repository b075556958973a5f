"""Seconds and memory of whole reconstructions over the number of photos.

Run from the repository's root: `python benchmarks/growth.py FOLDER [--counts 2 3 6 12]`. FOLDER
holds photos of one place in the order of a walk; each count takes that many from its middle,
`--step` apart, so that neighbours overlap alike in all of them. Every reconstruction is
`python -m reconx reconstruct` in a process of its own. Kernels are compiled before, by a small one.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from growth_plot import plot_growth

SUFFIXES = (".jpg", ".jpeg", ".png")


def choose(folder: Path, count: int, step: int) -> list[Path]:
    """So many photos from the middle of a folder."""
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    reach = (count - 1) * step + 1
    if len(photos) < reach:
        raise SystemExit(f"{count} photos, {step} apart, are more than '{folder}' holds.")
    first = (len(photos) - reach) // 2
    return photos[first : first + reach : step]


def reconstruct(photos: list[Path], quality: str, *more: str) -> dict[str, Any]:
    """The report of one reconstruction."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "reconx", "reconstruct", *map(str, photos)]
        command += ["--quality", quality, "--output", output, "--overwrite", *more]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads((Path(output) / "report.json").read_text(encoding="utf-8"))


def measure(photos: list[Path], quality: str) -> dict[str, Any]:
    """One row."""
    stages = reconstruct(photos, quality)["stages"]
    return {
        "views": len(photos),
        "seconds": round(sum(stage["seconds"] for stage in stages.values()), 1),
        "peak_memory_mb": round(max(stage["peak_memory_mb"] for stage in stages.values())),
        "stages": {name: round(stage["seconds"], 1) for name, stage in stages.items()},
    }


def main() -> None:
    """Measure every count; write one JSON file and a plot."""
    parser = argparse.ArgumentParser(description="Whole reconstructions of more and more photos.")
    parser.add_argument("folder", type=Path, help="photos of one place, in the order of a walk")
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 3, 6, 12])
    parser.add_argument("--step", type=int, default=2, help="take every so many photos")
    parser.add_argument("--quality", default="normal")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    chosen = {count: choose(options.folder, count, options.step) for count in options.counts}
    reconstruct(chosen[min(chosen)], "draft", "--size", "128", "--steps", "2", "--frames", "2")
    load, rows = os.getloadavg() if hasattr(os, "getloadavg") else None, []
    for photos in chosen.values():
        rows.append(measure(photos, options.quality))
        print(json.dumps(rows[-1]), flush=True)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "numba")},
        },
        "load_average_before": load,
        "note": options.note,
        "photos": options.folder.resolve().parent.name,
        "quality": options.quality,
        "growth": rows,
    }
    path = options.out / f"growth-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    threads = f"{os.cpu_count()} cores"
    plot_growth(rows, path.with_suffix(".png"), over="views", axis="photos", threads=threads)
    print(path)


if __name__ == "__main__":
    main()
