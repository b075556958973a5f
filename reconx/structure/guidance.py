"""Guidance by structure, whatever guidance by text a pipeline or sampler does around it.

The conditional prediction becomes `e(t, k, 0) + s [e(t, k, S) - e(t, k, 0)]` with text t, keyframes
k, structure S and its strength s; classifier-free guidance on the text then goes on from there.
Strength 1 is the prediction with structure itself, at no second evaluation; 0 leaves it out.
Keyframes stay on throughout: a frozen backbone was not trained to lose them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .adapter import attach
from .model import StructureCondition
from .sites import Site

Rows = Callable[[tuple[Any, ...], dict[str, Any]], Sequence[bool] | None]
"""Told a denoiser's arguments: which equal parts of the batch read structure; None = none now."""


def guided_prediction(
    predict: Callable[[], Float[Tensor, "*shape"]],
    attached: Callable[[], AbstractContextManager[None]],
    strength: int | float,
) -> Float[Tensor, "*shape"]:
    """A denoiser's prediction, guided by structure.

    Args:
        predict: Runs the denoiser; called once, or twice at a strength other than 0 and 1. Any
            affine function of its prediction will do.
        attached: Gives the structure to the denoiser for as long as it is open.
        strength: 1 is full; above 1 exaggerates what the structure changes.
    """
    if strength == 0:
        return predict()
    with attached():
        conditioned = predict()
    if strength == 1:
        return conditioned
    return torch.lerp(predict(), conditioned, strength)


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

    Args:
        denoiser: Called so that it returns a tuple, its prediction first (`return_dict=False`).
        sites: Its attentions.
        condition: Tokens, and the adapter that was trained for this denoiser.
        strength: As in `guided_prediction`.
        rows: Asked at every call.
    """
    plain = denoiser.forward
    own = vars(denoiser).get("forward")

    def guided(*args: Any, **kwargs: Any) -> Any:
        reading = rows(args, kwargs)
        if reading is None or not any(reading):
            return plain(*args, **kwargs)
        made: tuple[Any, ...] = ()

        def predict() -> Tensor:
            nonlocal made
            made = plain(*args, **kwargs)
            return made[0]

        prediction = guided_prediction(
            predict,
            lambda: attach(condition.adapter, sites, condition.tokens.tokens, rows=reading),
            strength,
        )
        return (prediction, *made[1:])

    # Offloading, too, replaces the instance's method; what was there is put back.
    denoiser.forward = guided
    try:
        yield
    finally:
        if own is None:
            del denoiser.forward
        else:
            denoiser.forward = own
