"""Time our DUSt3R network against the official one at full size, and write the figures down.

Run from the repository's root: `python benchmarks/dust3r.py CHECKOUT`, with CHECKOUT a folder of
github.com/naver/dust3r with its submodule croco, whose packages (einops, huggingface_hub) are in
reach. Both networks share the same random weights and take turns within one run, so that what else
the machine does falls on both. The minimum says what the code costs, the median what one gets.

A job is what some photos need, from pictures to pointmaps: the pairs of a complete graph, in both
directions. The official recipe asks for each ordered pair by itself, so it reads every photo anew
in every pair; ours reads each photo once. `--photos` says which jobs run from end to end. Those of
`--projected` are added up from what one ordered pair, and of ours one photo's reading, took; they
stand in a list of their own.
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
Pairs = list[tuple[int, int]]
Points = list[Tensor]
"""Of each ordered pair: the first photo's points."""
Times = dict[str, list[tuple[float, float]]]
"""Wall and processor milliseconds of each run, by who ran."""


def pairs_of(photos: int) -> Pairs:
    """What a job asks for: a complete graph in both directions; of 1 one ordered pair alone."""
    if photos == 1:
        return [(0, 1)]
    return [(i, j) for i in range(photos) for j in range(photos) if i != j]


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


def run_official(network: nn.Module, images: Tensor, pairs: Pairs) -> Points:
    """Each ordered pair by itself, as in the official readme (batch size 1)."""
    shape = torch.tensor([images.shape[1:3]])
    views = [
        {"img": 2 * image[None].permute(0, 3, 1, 2) - 1, "true_shape": shape, "instance": [str(i)]}
        for i, image in enumerate(images)
    ]
    return [network(views[i], views[j])[0]["pts3d"] for i, j in pairs]


def run_ours(network: Dust3rNetwork, images: Tensor, pairs: Pairs) -> Points:
    """Each photo is encoded once, each ordered pair decoded by itself."""
    tokens = network.encode(images[: 1 + max(map(max, pairs))])
    rows, columns = (side // network.config.patch for side in images.shape[1:3])
    return [
        network.decode(tokens[i : i + 1], tokens[j : j + 1], rows, columns)[0][0] for i, j in pairs
    ]


def time_call(call: Callable[[], Points], device: torch.device) -> tuple[float, float, Points]:
    """Wall and processor milliseconds of one call, and its answer."""
    wall, processor = time.perf_counter(), time.process_time()
    answer = call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor), answer


def measure(
    kind: str, options: argparse.Namespace, device: torch.device
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Figures of both networks: of jobs that ran, and of jobs that are projected."""
    config, width, height = KINDS[kind]
    official = build_official(config).to(device)
    ours = build_ours(config, official, getattr(torch, options.dtype))
    most = max(2, *options.photos)
    images = torch.rand(most, height, width, 3, generator=torch.Generator().manual_seed(1))
    images = images.to(device)
    calls: dict[str, Callable[[Pairs], Points]] = {
        "official": lambda pairs: run_official(official, images, pairs),
        "ours": lambda pairs: run_ours(ours, images, pairs),
    }
    rows = []
    for photos in (1, *options.photos):
        times: Times = {name: [] for name in calls}
        answers: dict[str, Points] = {}
        peaks: dict[str, float] = {}
        for _ in range(options.runs if photos == 1 else options.job_runs):
            for name, call in calls.items():
                held = _restart_peak(device)
                wall, processor, answers[name] = time_call(
                    lambda c=call, n=photos: c(pairs_of(n)), device
                )
                times[name].append((wall, processor))
                if device.type == "cuda":
                    peaks[name] = round((torch.cuda.max_memory_allocated() - held) / 1e6, 1)
        rows.append(_row(kind, photos, times, answers, peaks))
        print(json.dumps(rows[-1]), flush=True)
    encode = min(
        time_call(lambda: [ours.encode(images[:1])], device)[1] for _ in range(options.runs)
    )
    projected = [_project(kind, photos, rows[0], encode) for photos in options.projected]
    return rows, projected


def _project(kind: str, photos: int, pair: dict[str, Any], encode: float) -> dict[str, Any]:
    """Processor milliseconds of a job from those of one ordered pair and of reading one photo."""
    count = len(pairs_of(photos))
    official = count * pair["official_processor_ms"]["min"]
    decode = pair["ours_processor_ms"]["min"] - 2 * encode
    ours = photos * encode + count * decode
    return {
        "checkpoint": kind,
        "photos": photos,
        "pairs": count,
        "projected_official_processor_ms": round(official, 1),
        "projected_ours_processor_ms": round(ours, 1),
        "projected_times_faster": round(official / ours, 2),
    }


def _restart_peak(device: torch.device) -> int:
    """Bytes that are held now; the peak counts from here."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _row(
    kind: str,
    photos: int,
    times: Times,
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
    count = len(pairs_of(photos))
    row = {"checkpoint": kind, "photos": max(photos, 2), "pairs": count}
    row |= {"runs": len(times["ours"]), **clocks, **ratios}
    if peaks:
        row["peak_mb_beside_weights"] = peaks
    return row | {"relative_difference": worst}


def main() -> None:
    """Measure everything and write one JSON file."""
    parser = argparse.ArgumentParser(description="Time the DUSt3R network.")
    parser.add_argument("checkout", type=Path, help="the official code")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--photos", nargs="+", type=int, default=[2, 3], help="jobs to run")
    parser.add_argument("--projected", nargs="*", type=int, default=[4, 6], help="jobs to add up")
    parser.add_argument("--runs", type=int, default=5, help="of one ordered pair")
    parser.add_argument("--job-runs", type=int, default=1, help="of each job")
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
    figures, projected = [], []
    with torch.no_grad():
        for kind in options.kinds:
            ran, added = measure(kind, options, device)
            figures += ran
            projected += added
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
        "projected": projected,
    }
    name = f"dust3r-{device.type}-{options.dtype}-{datetime.now(UTC):%Y-%m-%d}.json"
    path = options.out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
