"""Numbers as colours."""

import torch
from jaxtyping import Float
from torch import Tensor

RAINBOW = torch.tensor(
    [
        [48, 18, 59],
        [70, 98, 216],
        [54, 170, 249],
        [26, 228, 182],
        [114, 254, 94],
        [200, 239, 52],
        [251, 185, 56],
        [246, 107, 25],
        [203, 42, 4],
        [122, 4, 3],
    ]
)
"""Dark blue over green to dark red: many steps that the eye can tell apart, as depth needs."""
GLOW = torch.tensor([[32, 34, 46], [52, 72, 110], [46, 128, 138], [112, 184, 118], [250, 236, 140]])
"""Dark to light: more is brighter, as certainty needs."""


def apply_colour_map(values: Float[Tensor, "*shape"], stops: Tensor) -> Float[Tensor, "*shape 3"]:
    """Colours in [0, 1] for values in [0, 1], linear between the map's equally spaced stops.

    Values outside take the colours at the ends.
    """
    position = values.clamp(0, 1) * (len(stops) - 1)
    lower = position.floor().clamp(max=len(stops) - 2)
    share = (position - lower)[..., None]
    index = lower.long()
    return ((1 - share) * stops[index] + share * stops[index + 1]) / 255
