"""How many frames a video may have."""

from typing import Literal

FrameRule = Literal["any", "4k+1", "8k+1"]

FRAME_STEPS: dict[FrameRule, int] = {"any": 1, "4k+1": 4, "8k+1": 8}
"""Legal counts are one more than a multiple of this."""


def legal_frame_count(count: int, rule: FrameRule) -> int:
    """The smallest legal count that is not below `count`."""
    step = FRAME_STEPS[rule]
    return 1 + -(-(count - 1) // step) * step


def largest_legal_count(most: int, rule: FrameRule) -> int:
    """The largest legal count that is not above `most`."""
    step = FRAME_STEPS[rule]
    return 1 + (most - 1) // step * step
