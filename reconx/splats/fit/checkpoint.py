"""A fit on its way, as a file from which the same fit goes on, to the same bytes.

Owns the file: what it holds is up to the loop. It appears whole or not at all, and is read without
running anything in it.
"""

import hashlib
import logging
import pickle
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...export.atomic import replacing

logger = logging.getLogger("reconx")

FORMAT = "reconx-fit-1"
EVERY_SECONDS = 20.0
"""Time from one writing to the next: most that a killed fit loses."""


class FitCheckpoint:
    """One fit's file."""

    def __init__(self, path: Path, facts: Mapping[str, str]) -> None:
        """Name the file; nothing is read yet.

        Args:
            path: Where it is or will be.
            facts: Everything that the fit depends on, see `describe_fit`.
        """
        self._path = path
        self._facts = dict(facts)
        self._written = time.monotonic()

    def read(self) -> dict[str, Any] | None:
        """The state that was written last; None if there is no file.

        Raises:
            InputError: If the file is damaged or belongs to another fit.
        """
        if not self._path.is_file():
            return None
        try:
            with zipfile.ZipFile(self._path) as archive:
                broken = archive.testzip()
            if broken is not None:
                raise ValueError(f"its part '{broken}' is damaged")
            content = torch.load(self._path, map_location="cpu", weights_only=True)
            found, state = content["facts"], content["state"]
            if content["format"] != FORMAT:
                raise ValueError(f"its format is '{content['format']}', expected '{FORMAT}'")
        except (
            *(OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError),
            *(zipfile.BadZipFile, pickle.UnpicklingError),
        ) as error:
            raise InputError(
                f"Checkpoint '{self._path}' is cut short, damaged or no fit's ({error}). Remove it "
                "to begin anew."
            ) from error
        other = [name for name, fact in self._facts.items() if found.get(name) != fact]
        if other:
            differences = ", ".join(
                f"{name} {found.get(name)} and not {self._facts[name]}" for name in other
            )
            raise InputError(
                f"Checkpoint '{self._path}' belongs to a fit with {differences}. Repeat that one, "
                "or remove the file to begin anew."
            )
        logger.info("The fit goes on from step %d of '%s'.", state["step"], self._path)
        return state

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._written >= EVERY_SECONDS

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the file."""
        with replacing(self._path) as temporary:
            torch.save({"format": FORMAT, "facts": self._facts, "state": dict(state)}, temporary)
        self._written = time.monotonic()


def describe_fit(
    options: Any, seed: int, device: str, rasterizer: str, **inputs: object
) -> dict[str, str]:
    """Everything on which a fit's bytes depend, in words short enough for an error text.

    Args:
        options: Of the fit.
        seed: Of the fit.
        device: Of the fit.
        rasterizer: Who draws.
        inputs: Scene and views, by name.
    """
    facts = {name: str(value) for name, value in asdict(options).items()}
    facts |= {"seed": str(seed), "device": device, "rasterizer": rasterizer}
    facts["torch"] = str(torch.__version__)
    for name, value in inputs.items():
        digest = hashlib.sha256()
        for part in _bytes_of(value):
            digest.update(part)
        facts[name] = digest.hexdigest()[:12]
    return facts


def _bytes_of(value: object) -> Iterator[bytes]:
    """What of nested records is tensors or numbers, in order; texts and times do not count."""
    if isinstance(value, Tensor):
        yield str((value.dtype, tuple(value.shape))).encode()
        yield value.detach().cpu().contiguous().numpy().tobytes()
    elif is_dataclass(value):
        for field in fields(value):
            if field.name != "source":
                yield from _bytes_of(getattr(value, field.name))
    elif isinstance(value, int | float):
        yield repr(value).encode()
