"""Time our DUSt3R network against the official one at full size, and write the figures down.

Run from the repository's root: `python benchmarks/dust3r.py CHECKOUT`, with CHECKOUT a folder of
github.com/naver/dust3r with its submodule croco, whose packages (einops, huggingface_hub) are in
reach. Both networks share the same random weights and take turns within one run, so that what else
the machine does falls on both. The minimum says what the code costs, the median what one gets.

Jobs: "pair" is one ordered pair, from pictures to pointmaps. The others are what two and three
photos need: the official recipe asks for each ordered pair by itself, ours encodes each photo once.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reconx.geometry.dust3r.config import VIT_LARGE, NetworkConfig
from reconx.geometry.dust3r.network import Dust3rNetwork

KINDS = {"224_linear": (replace(VIT_LARGE, dpt=None), 224, 224), "512_dpt": (VIT_LARGE, 512, 384)}
"""Configuration, width and height of the official checkpoints."""
JOBS = {
    "pair": ((0, 1),),
    "two photos": ((0, 1), (1, 0)),
    "three photos": ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)),
}
Points = list[Tensor]
"""Of each ordered pair: the first photo's points."""


def build_official(config: NetworkConfig) -> nn.Module:
    """The official network with random weights."""
    from dust3r.model import AsymmetricCroCo3DStereo  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    return AsymmetricCroCo3DStereo(
        pos_embed="RoPE100",
        img_size=(512, 512),
        head_type="linear" if config.dpt is None else "dpt",
        depth_mode=("exp", -inf, inf),
        conf_mode=("exp", 1, inf),
        enc_embed_dim=config.encoder_width,
        enc_depth=config.encoder_depth,
        enc_num_heads=config.encoder_width // 64,
        dec_embed_dim=config.decoder_width,
        dec_depth=config.decoder_depth,
        dec_num_heads=config.decoder_width // 64,
        landscape_only=False,
    ).eval()


def build_ours(config: NetworkConfig, official: nn.Module, dtype: torch.dtype) -> Dust3rNetwork:
    """Our network on the very weights; in float32 they are not copied."""
    with torch.device("meta"):
        network = Dust3rNetwork(config)
    weights = official.state_dict()
    network.load_state_dict(
        {
            name: weights[name].to(torch.float32 if name.startswith("downstream_head") else dtype)
            for name in network.state_dict()
        },
        assign=True,
    )
    return network.eval()


def run_official(network: nn.Module, images: Tensor, job: str) -> Points:
    """Each ordered pair by itself, as in the official readme (batch size 1)."""
    shape = torch.tensor([images.shape[1:3]])
    views = [
        {"img": 2 * image[None].permute(0, 3, 1, 2) - 1, "true_shape": shape, "instance": [str(i)]}
        for i, image in enumerate(images)
    ]
    return [network(views[i], views[j])[0]["pts3d"] for i, j in JOBS[job]]


def run_ours(network: Dust3rNetwork, images: Tensor, job: str) -> Points:
    """Each photo is encoded once, each ordered pair decoded by itself."""
    tokens = network.encode(images[: 1 + max(map(max, JOBS[job]))])
    rows, columns = (side // network.config.patch for side in images.shape[1:3])
    return [
        network.decode(tokens[i : i + 1], tokens[j : j + 1], rows, columns)[0][0]
        for i, j in JOBS[job]
    ]


def time_call(call: Callable[[], Points], device: torch.device) -> tuple[float, float, Points]:
    """Wall and processor milliseconds of one call, and its answer."""
    wall, processor = time.perf_counter(), time.process_time()
    answer = call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor), answer


def measure(kind: str, runs: int, device: torch.device, dtype: torch.dtype) -> list[dict[str, Any]]:
    """Figures of both networks on every job."""
    config, width, height = KINDS[kind]
    official = build_official(config).to(device)
    ours = build_ours(config, official, dtype)
    images = torch.rand(3, height, width, 3, generator=torch.Generator().manual_seed(1)).to(device)
    calls: dict[str, Callable[[str], Points]] = {
        "official": lambda job: run_official(official, images, job),
        "ours": lambda job: run_ours(ours, images, job),
    }
    rows = []
    for job in JOBS:
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        answers: dict[str, Points] = {}
        peaks: dict[str, float] = {}
        for _ in range(runs):
            for name, call in calls.items():
                held = _restart_peak(device)
                wall, processor, answers[name] = time_call(lambda c=call, j=job: c(j), device)
                times[name].append((wall, processor))
                if device.type == "cuda":
                    peaks[name] = round((torch.cuda.max_memory_allocated() - held) / 1e6, 1)
        rows.append(_row(kind, job, times, answers, peaks))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _restart_peak(device: torch.device) -> int:
    """Bytes that are held now; the peak counts from here."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _row(
    kind: str,
    job: str,
    times: dict[str, list[tuple[float, float]]],
    answers: dict[str, Points],
    peaks: dict[str, float],
) -> dict[str, Any]:
    clocks = {}
    ratios = {}
    for place, clock in enumerate(("wall", "processor")):
        spent = {name: [run[place] for run in found] for name, found in times.items()}
        clocks |= {
            f"{name}_{clock}_ms": {
                "min": round(min(found), 1),
                "median": round(statistics.median(found), 1),
            }
            for name, found in spent.items()
        }
        ratios[f"times_faster_{clock}_min"] = round(min(spent["official"]) / min(spent["ours"]), 2)
    worst = max(
        float((found - expected).norm() / expected.norm())
        for found, expected in zip(answers["ours"], answers["official"], strict=True)
    )
    row = {"checkpoint": kind, "job": job, "runs": len(times["ours"]), **clocks, **ratios}
    if peaks:
        row["peak_mb_beside_weights"] = peaks
    return row | {"relative_difference": worst}


def main() -> None:
    """Measure everything and write one JSON file."""
    parser = argparse.ArgumentParser(description="Time the DUSt3R network.")
    parser.add_argument("checkout", type=Path, help="the official code")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="of our blocks; official: float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()

    sys.path.insert(0, str(options.checkout))
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    began = os.getloadavg() if hasattr(os, "getloadavg") else None
    with torch.no_grad():
        figures = [
            row
            for kind in options.kinds
            for row in measure(kind, options.runs, device, getattr(torch, options.dtype))
        ]
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else options.device,
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "torch_threads": options.threads,
        "dtype": options.dtype,
        "load_average_before": began,
        "note": options.note,
        "figures": figures,
    }
    name = f"dust3r-{device.type}-{options.dtype}-{datetime.now(UTC):%Y-%m-%d}.json"
    path = options.out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
