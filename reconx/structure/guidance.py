"""Guidance by structure, whatever guidance by text a pipeline or sampler does around it.

The conditional prediction becomes `e(t, k, 0) + s [e(t, k, S) - e(t, k, 0)]` with text t, keyframes
k, structure S and its strength s; classifier-free guidance on the text then goes on from there.
Strength 1 is the prediction with structure itself, at no second evaluation; 0 leaves it out.
Keyframes stay on throughout: a frozen backbone was not trained to lose them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .adapter import attach, check_used
from .model import StructureCondition
from .sites import Site

Rows = Callable[[tuple[Any, ...], dict[str, Any]], Sequence[bool] | None]
"""Told a denoiser's arguments: which equal parts of the batch read structure; None = none now."""


@contextmanager
def guide_denoiser(
    denoiser: nn.Module,
    sites: Sequence[Site],
    condition: StructureCondition,
    *,
    strength: int | float,
    rows: Rows,
) -> Iterator[None]:
    """Guide every prediction that a denoiser makes within the block.

    By hooks alone: offloading replaces a denoiser's `forward` and puts it back when it likes.

    Args:
        denoiser: Called so that it returns a tuple, its prediction first (`return_dict=False`).
        sites: Its attentions.
        condition: Tokens, and the adapter that was trained for this denoiser; both on its device.
        strength: Above 0. 1 is full; above 1 exaggerates what the structure changes.
        rows: Asked at every call.

    Raises:
        BackboneMismatch: If the denoiser ran and read no structure.
    """
    plain = False
    with attach(condition.adapter, sites, condition.tokens.tokens, rows=()) as reading:

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            reading.rows = () if plain else tuple(rows(args, kwargs) or ())
            reading.used = False

        def after(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], made: Any
        ) -> Any:
            nonlocal plain
            if plain or not any(reading.rows):
                return made
            check_used(reading)
            if strength == 1:
                return made
            plain = True
            try:
                unguided = module(*args, **kwargs)[0]
            finally:
                plain = False
            return (extrapolate(unguided, made[0], strength), *made[1:])

        handles = (
            denoiser.register_forward_pre_hook(before, with_kwargs=True),
            denoiser.register_forward_hook(after, with_kwargs=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def extrapolate(plain: Tensor, guided: Tensor, strength: int | float) -> Tensor:
    """The prediction at a strength, on the line from without structure to with it.

    Rows that read no structure are equal in both, and stay as they are.
    """
    return torch.lerp(plain, guided, strength)
