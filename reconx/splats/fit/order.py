"""In which order pictures train."""

from collections.abc import Iterator, Sequence

import torch

from ..targets import Target


def halved(targets: Sequence[Target]) -> list[Target]:
    """All pictures at half their size."""
    return [target.halved() for target in targets]


def in_turn(
    captured: Sequence[Target], generated: Sequence[Target], generator: torch.Generator
) -> Iterator[Target]:
    """Captured and generated pictures by turns, each kind in shuffled rounds, without end."""

    def rounds(targets: Sequence[Target]) -> Iterator[Target]:
        while True:
            for index in torch.randperm(len(targets), generator=generator).tolist():
                yield targets[index]

    photos = rounds(captured)
    others = rounds(generated) if generated else photos
    while True:
        yield next(photos)
        yield next(others)
