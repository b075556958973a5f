"""What a run will take, told before anything long starts."""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from .base import TrainableBackbone
from .options import TrainOptions
from .run import TrainingRun

MEASURED_STEPS = 3
"""After one that is not counted: the first step warms up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCosts:
    """Sizes and times of a run; which are measured, `describe` says."""

    frozen: int
    """Parameters that stay as they are."""
    trained: dict[str, int]
    """Parameters that learn, by part."""
    weights_gb: float
    """1e9 bytes: weights, gradients, moments and average, from the counts alone."""
    peak_gb: float
    """1e9 bytes: the most that the steps took, on the device; on a CPU of the whole process."""
    step_seconds: float
    """Of a step on this machine, this process's share of the batch."""
    encode_seconds: float
    """Of a clip."""
    clips: int
    """To encode, in all."""
    steps: int
    """To do, in all."""
    device: str
    """On which it was measured."""
    sampled: tuple[str, ...]
    """Names of the clips that it was measured with."""

    def describe(self) -> str:
        """As text for people."""
        trained = ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in self.trained.items())
        hours = self.step_seconds * self.steps / 3600
        encoding = self.encode_seconds * self.clips / 3600
        return "\n".join(
            [
                f"Trained parameters: {trained}; frozen: {self.frozen / 1e6:.2f} M.",
                f"Weights, gradients, moments and average (counted): {self.weights_gb:.2f} GB.",
                f"Most memory of a step (measured on {self.device}): {self.peak_gb:.2f} GB.",
                f"Encoding (measured on {len(self.sampled)} clips): {self.encode_seconds:.2f} s a "
                f"clip, {encoding:.2f} h for all {self.clips} by one process (estimated).",
                f"Training (measured on {MEASURED_STEPS} steps): {self.step_seconds:.3f} s a step, "
                f"{hours:.2f} h for all {self.steps} (estimated).",
                "Nothing was kept.",
            ]
        )


def measure_costs(
    options: TrainOptions, backbone: TrainableBackbone, scratch: Path, device: str | None = None
) -> RunCosts:
    """Encode one batch, and do a few real steps with it.

    Args:
        options: The recipe.
        backbone: Of the recipe.
        scratch: A folder for what is made meanwhile.
        device: As for a `TrainingRun`.

    Raises:
        InputError: If the recipe cannot be run here.
    """
    run = TrainingRun(options, backbone, scratch, device=device)
    began = time.perf_counter()
    names = run.cache.try_out(options.learn.at_once, run.device)
    encoding = (time.perf_counter() - began) / len(names)
    apart = run.device.type == "cuda"
    if apart:
        torch.cuda.reset_peak_memory_stats(run.device)
    with run.bench() as bench:
        bench.silent = True
        bench.advance()
        began = time.perf_counter()
        for _ in range(MEASURED_STEPS):
            bench.advance()
        if apart:
            torch.cuda.synchronize(run.device)
        step = (time.perf_counter() - began) / MEASURED_STEPS
        parameters = bench.learner.trained()
        trained: dict[str, int] = {}
        for name, value in parameters.items():
            part = name.partition(".")[0]
            trained[part] = trained.get(part, 0) + value.numel()
        everything = list(bench.learner.parameters())
    count = sum(trained.values())
    frozen = [value for value in everything if not value.requires_grad]
    # Single precision: the weight, its gradient, two moments, and perhaps the average.
    learned = count * 4 * (4 + bool(options.learn.average))
    kept = sum(value.numel() * value.element_size() for value in frozen)
    peak = (
        torch.cuda.max_memory_allocated(run.device) if apart else psutil.Process().memory_info().rss
    )
    return RunCosts(
        frozen=sum(value.numel() for value in frozen),
        trained=trained,
        weights_gb=(learned + kept) / 1e9,
        peak_gb=peak / 1e9,
        step_seconds=step,
        encode_seconds=encoding,
        clips=run.cache.total,
        steps=options.learn.warm_up + options.learn.steps,
        device=str(run.device),
        sampled=tuple(names),
    )
