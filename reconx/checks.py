"""Checks that turn a bad value into one clear `InputError`. Owns no domain knowledge."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .errors import InputError


def check_shape(name: str, tensor: Tensor, *shape: int | None) -> None:
    """Require a tensor shape; None stands for any length.

    Raises:
        InputError: If the rank or a fixed length differs.
    """
    actual = tuple(tensor.shape)
    fits = len(actual) == len(shape) and all(
        want is None or have == want for have, want in zip(actual, shape, strict=True)
    )
    if not fits:
        expected = ", ".join("any" if length is None else str(length) for length in shape)
        raise InputError(f"{name} has shape {actual}; expected ({expected}).")


def check_finite(name: str, values: Tensor) -> None:
    """Require finite numbers.

    Raises:
        InputError: If one is NaN or infinite; the text counts them.
    """
    # Bit by bit: a mask of all values would be a quarter of what a large splat takes.
    wrong = sum(int((~torch.isfinite(part)).sum()) for part in values.split(1 << 16))
    if wrong:
        raise InputError(
            f"{name} holds {wrong} of {values.numel()} values that are not finite; expected finite "
            "ones. Leave such points out."
        )


def check_range(
    name: str, value: int | float, low: int | float, high: int | float = math.inf
) -> None:
    """Require a finite number in [low, high].

    Raises:
        InputError: If it is NaN, infinite or outside.
    """
    if not math.isfinite(value) or not low <= value <= high:
        limits = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        raise InputError(f"{name} is {value:g}; expected {limits}. Give a value in that range.")


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Require one of the known names.

    Raises:
        InputError: If the value is unknown; the text lists the known ones.
    """
    if value not in known:
        raise InputError(f"{name} '{value}' is unknown. Choose one of: {', '.join(known)}.")


def check_device(name: str) -> torch.device:
    """Require a torch device that this machine has.

    Raises:
        InputError: If torch does not know it or cannot use it here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"Device '{name}' cannot be used here ({reason}). Choose cpu, or a device that "
            "your torch build supports."
        ) from error
    return device
