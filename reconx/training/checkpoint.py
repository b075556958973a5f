"""Checkpoints of a run: folders that appear whole or not at all."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import InputError

_FACTS = "facts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All that a run needs to go on as if it had not stopped.

    No generator's state is among it: whatever is random follows from the seed and the step, and so
    does which clips come next.
    """

    step: int
    """Steps that are done."""
    weights: Mapping[str, Tensor]
    """Of what is trained."""
    average: Mapping[str, Tensor]
    """Their moving average; empty if none is kept."""
    optimiser: Mapping[str, Any]
    """Its state."""
    scaler: Mapping[str, Any]
    """That of the loss scaling, which half precision needs; empty without."""


class CheckpointFolder:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Look at nothing yet.

        Args:
            folder: Made with the first checkpoint.
            keep: How many stay.
        """
        self._folder, self._keep = folder, keep

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, in order."""
        found = self._folder.glob("step-*") if self._folder.is_dir() else []
        return sorted(int(path.name.removeprefix("step-")) for path in found)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write one, then drop the oldest that are too many."""
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._path(checkpoint.step)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        part.mkdir()
        try:
            for name in ("weights", "average"):
                tensors = {
                    key: value.contiguous() for key, value in getattr(checkpoint, name).items()
                }
                save_file(tensors, part / f"{name}.safetensors")
            state = {"optimiser": checkpoint.optimiser, "scaler": checkpoint.scaler}
            torch.save(state, part / "optimiser.pt")
            sizes = {path.name: path.stat().st_size for path in sorted(part.iterdir())}
            facts = json.dumps({"step": checkpoint.step, "bytes": sizes}, indent=1)
            (part / _FACTS).write_text(facts, encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)  # of a run that was rewound by hand
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        for step in self.steps()[: -self._keep]:
            shutil.rmtree(self._path(step))

    def load(self) -> Checkpoint | None:
        """The newest; None if there is none.

        Raises:
            InputError: If it is damaged.
        """
        steps = self.steps()
        if not steps:
            return None
        folder = self._path(steps[-1])
        try:
            sizes = json.loads((folder / _FACTS).read_text(encoding="utf-8"))["bytes"]
            for name, size in sizes.items():
                found = (folder / name).stat().st_size
                if found != size:
                    raise ValueError(f"{name} has {found} of {size} bytes")
            state = torch.load(folder / "optimiser.pt", map_location="cpu", weights_only=True)
            return Checkpoint(
                step=steps[-1],
                weights=load_file(folder / "weights.safetensors"),
                average=load_file(folder / "average.safetensors"),
                **state,
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"Checkpoint '{folder}' is damaged ({error}). Delete it, and the run goes on from "
                "the one before, or from the start."
            ) from error

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}"
