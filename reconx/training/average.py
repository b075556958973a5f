"""The moving average of weights, which makes better pictures than the last step's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential, and faster at the beginning, when weights still move far."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        """Begin with the weights as they are; a decay of 0 keeps none."""
        self._decay = decay
        kept = parameters if decay else {}
        self.values = {name: value.detach().clone() for name, value in kept.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Take a step's weights in; steps are counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self.values.items():
            value.lerp_(parameters[name].detach(), 1 - decay)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Go on from kept values."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @contextmanager
    def inside(self, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """Put the average in the place of the weights within the block."""
        plain = {name: parameters[name].detach().clone() for name in self.values}
        try:
            _copy(self.values, parameters)
            yield
        finally:
            _copy(plain, parameters)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)
