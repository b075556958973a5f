"""What the structure condition adds to one block of Wan 1.3B: operations, time and memory.

Run from the repository's root: `python benchmarks/structure_cost.py --device cuda`. Needs the
package diffusers and no weights. The block works on a clip of 832 x 480 x 33 and reads 1024 tokens,
with and without structure in turns within one run, so that what else the machine does falls on
both; the minimum says what the code costs, the median what one gets. In bf16 on a GPU, in single
precision on a CPU.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel  # pyright: ignore[reportMissingImports]
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from reconx.progress import measure_usage
from reconx.structure.adapter import StructureAdapter, attach, sizes_for
from reconx.structure.encoder import EncoderSizes
from reconx.structure.sites import DIFFUSERS_RULES, Site, find_sites

WIDTH, HEIGHT, FRAMES = 832, 480, 33
TEXT = 512
"""Tokens of a prompt, as the model pads them."""


class Block:
    """One block of Wan 1.3B with an adapter, both with random weights."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        """Build both on a device."""
        torch.manual_seed(0)
        with torch.device(device):
            sizes: dict[str, Any] = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 1}
            self.model: Any = WanTransformer3DModel(**sizes)
            self.model.to(dtype).requires_grad_(False)
            self.sites: list[Site] = find_sites(self.model, DIFFUSERS_RULES)
            encoder = EncoderSizes()
            self.adapter = StructureAdapter(sizes_for(self.sites, encoder.width), gate=1.0)
            self.adapter.to(dtype).requires_grad_(False)
            self.tokens = torch.randn(1, encoder.queries, encoder.width, dtype=dtype)
            # The VAE packs 4 frames and 8 x 8 pixels, the model 2 x 2 of what is left.
            latents = torch.zeros(1, 16, (FRAMES - 1) // 4 + 1, HEIGHT // 8, WIDTH // 8)
            width = self.sites[0].width
            count = latents[0, 0].numel() // 4
            self.video = torch.randn(1, count, width, dtype=dtype)
            self.text = torch.randn(1, TEXT, width, dtype=dtype)
            self.time = torch.randn(1, 6, width)
            self.rotation = self.model.rope(latents)

    def run(self, structure: bool) -> Tensor:
        """One forward pass."""
        reading = attach(self.adapter, self.sites, self.tokens) if structure else nullcontext()
        with torch.no_grad(), reading:
            return self.model.blocks[0](self.video, self.text, self.time, self.rotation)


def count_operations() -> dict[str, float]:
    """Floating-point operations of both, in 1e9; no memory is needed for that."""
    block = Block("meta", torch.float32)
    counts = {}
    for name, structure in (("block", False), ("with structure", True)):
        with FlopCounterMode(display=False) as counter:
            block.run(structure)
        counts[name] = counter.get_total_flops() / 1e9
    return counts


def measure(device: str, runs: int) -> dict[str, dict[str, float]]:
    """Seconds and peak memory of both, taken in turns."""
    block = Block(device, torch.float32 if device == "cpu" else torch.bfloat16)
    seconds: dict[str, list[float]] = {"block": [], "with structure": []}
    memory = dict.fromkeys(seconds, 0.0)
    for turn in range(runs + 1):  # the first warms up and is dropped
        for name in seconds:
            took, megabytes = measure_call(device, partial(block.run, name != "block"))
            if turn > 0:
                seconds[name].append(took)
                memory[name] = max(memory[name], megabytes)
    return {
        name: {
            "min_seconds": min(times),
            "median_seconds": statistics.median(times),
            "peak_megabytes": memory[name],
        }
        for name, times in seconds.items()
    }


def measure_call(device: str, call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and the most memory that was in use meanwhile: the device's, or the process's."""
    if device == "cpu":
        with measure_usage() as usage:
            call()
        return usage.seconds, usage.peak_memory_mb
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - began, torch.cuda.max_memory_allocated() / 1e6


def main() -> None:
    """Measure, print, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    operations, measured = count_operations(), measure(options.device, options.runs)
    plain, full = measured["block"], measured["with structure"]
    added = {
        "operations": operations["with structure"] / operations["block"] - 1,
        "min_seconds": full["min_seconds"] / plain["min_seconds"] - 1,
        "median_seconds": full["median_seconds"] / plain["median_seconds"] - 1,
    }
    gpu = options.device != "cpu"
    report = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "processors": os.cpu_count(),
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "clip": [WIDTH, HEIGHT, FRAMES],
        "giga_operations": operations,
        "measured": measured,
        "added_share": added,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    kind = "gpu" if gpu else "cpu"
    path = options.output / f"structure-cost-{kind}-{report['date']}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, share in added.items():
        print(f"structure adds {share:.1%} of {name.replace('_', ' ')}")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
