"""Files of weights: read by what they hold, whatever they are called, and running none of it."""

import argparse
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import InputError, UnsafeCheckpoint

_ZIP = b"PK\x03\x04"


def read_weights(path: Path, source: str, kind: str = "Checkpoint") -> Any:
    """What a file of safetensors or of `torch.save` holds, mapped into memory where that goes.

    Args:
        path: Exists.
        source: Where people get the file, for error texts.
        kind: What it is to them.

    Raises:
        UnsafeCheckpoint: If reading it would run code.
        InputError: If it is damaged, or no such file.
    """
    try:
        return _load(path)
    except pickle.UnpicklingError as error:
        called = re.search(r"GLOBAL (\S+)", str(error))
        if called is None:
            raise _damaged(path, source, kind, error) from error
        raise UnsafeCheckpoint(
            f"{kind} '{path.name}' holds pickled code ({called[1]}), which is not loaded. "
            f"Convert it to safetensors, or use the official file: {source}."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _damaged(path, source, kind, error) from error


def _load(path: Path) -> Any:
    # A namespace is a bare record; official files keep the training's arguments in one.
    with path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
        start = file.read(9)
        if start[8:] == b"{":  # eight bytes of length, then JSON: safetensors
            return load_file(path)
        if path.suffix == ".safetensors":  # but is none: of a path, torch believes the name
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=start.startswith(_ZIP))


def _damaged(path: Path, source: str, kind: str, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()
    return InputError(
        f"{kind} '{path.name}' cannot be read: it is cut short, damaged or no {kind.lower()} "
        f"({reason[0] if reason else type(error).__name__}). Download it again from {source}."
    )
