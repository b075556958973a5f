"""What goes wrong in generated frames, done to good ones: warps, colour shifts, wrong patches.

A video model does not draw each frame's errors anew: it drifts off for a while, and invents a
thing that it then keeps. So frames that are neighbours on the path are wrong alike, by the same
field of displacements, the same tint and the same patches, while the other frames are right. The
exception is `scattered`: there every frame is wrong by itself, as single images would be.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """How many frames are wrong, how much of each, and how wrong."""

    name: str
    frames: float
    """Share of the frames that are wrong: a run of neighbours, all of them alike."""
    patches: float
    """Share of such a frame that shows another place of another frame."""
    warps: float
    """Share of such a frame that is bent."""
    bend: float
    """Largest displacement, in widths of the frame."""
    colours: float
    """Share of such a frame whose colour is off."""
    shift: float
    """By how much, per channel, in either direction."""
    alike: bool = True
    """Whether wrong frames are wrong in the same way and place."""


SEVERITIES = (
    Severity(name="clean", frames=0, patches=0, warps=0, bend=0, colours=0, shift=0),
    Severity(
        name="scattered",
        frames=1.0,
        patches=0.3,
        warps=0.3,
        bend=0.04,
        colours=0.3,
        shift=0.25,
        alike=False,
    ),
    Severity(name="mild", frames=0.4, patches=0.3, warps=1.0, bend=0.03, colours=0.3, shift=0.15),
    Severity(name="severe", frames=0.6, patches=0.4, warps=1.0, bend=0.05, colours=0.4, shift=0.25),
)


def corrupt_frames(
    frames: Float[Tensor, "frame h w 3"], severity: Severity, seed: int
) -> tuple[Float[Tensor, "frame h w 3"], Bool[Tensor, "frame h w"]]:
    """Frames as a poor video model would have made them, and which pixels are wrong.

    Args:
        frames: In the order of the path.
        severity: What is done.
        seed: Of every random choice.
    """
    choose = torch.Generator().manual_seed(seed)
    count = round(severity.frames * len(frames))
    first = _integer(len(frames) - count + 1, choose)
    corrupted, wrong = frames.clone(), torch.zeros(frames.shape[:3], dtype=torch.bool)
    own = int(torch.randint(2**31, (), generator=choose))
    for index in range(first, first + count):
        generator = torch.Generator().manual_seed(own + (0 if severity.alike else index))
        source = frames[_integer(len(frames), generator)]
        corrupted[index], wrong[index] = _spoil(frames[index], source, severity, generator)
    return corrupted, wrong


def _spoil(
    frame: Float[Tensor, "h w 3"],
    source: Float[Tensor, "h w 3"],
    severity: Severity,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "h w 3"], Bool[Tensor, "h w"]]:
    """One frame with all three kinds of errors, and where they are."""
    height, width = frame.shape[:2]
    wrong = torch.zeros(height, width, dtype=torch.bool)
    steps: tuple[tuple[float, Callable[[Tensor], Tensor]], ...] = (
        (severity.warps, lambda spoilt: _bend(spoilt, severity.bend, generator)),
        (severity.colours, lambda spoilt: _tint(spoilt, severity.shift, generator)),
        (severity.patches, lambda _: _displaced(source, generator)),
    )
    for share, change in steps:
        if share > 0:
            mask = _rectangles(height, width, share, generator)
            frame = torch.where(mask[..., None], change(frame), frame)
            wrong |= mask
    return frame, wrong


def _integer(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(max(1, below), (), generator=generator))


def _rectangles(
    height: int, width: int, share: float, generator: torch.Generator
) -> Bool[Tensor, "h w"]:
    """Rectangles at random places that cover a share of the picture; all of it for 1."""
    mask = torch.full((height, width), share >= 1)
    while float(mask.float().mean()) < share:
        size = (0.15 + 0.25 * torch.rand(2, generator=generator)) * torch.tensor([height, width])
        rows, columns = (max(4, round(side)) for side in size.tolist())
        top, left = _integer(height - rows, generator), _integer(width - columns, generator)
        mask[top : top + rows, left : left + columns] = True
    return mask


def _bend(
    frame: Float[Tensor, "h w 3"], most: float, generator: torch.Generator
) -> Float[Tensor, "h w 3"]:
    """Displace every pixel by a smooth random field."""
    height, width = frame.shape[:2]
    coarse = torch.randn(1, 2, 4, 6, generator=generator)
    field = functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    field = most * width * field / field.abs().amax().clamp_min(1e-6)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack([(x + 0.5 + field[0]) / width, (y + 0.5 + field[1]) / height], dim=-1)
    bent = functional.grid_sample(
        frame.permute(2, 0, 1)[None],
        2 * grid[None] - 1,
        padding_mode="reflection",
        align_corners=False,
    )
    return bent[0].permute(1, 2, 0)


def _tint(
    frame: Float[Tensor, "h w 3"], shift: float, generator: torch.Generator
) -> Float[Tensor, "h w 3"]:
    signs = 2 * torch.randint(2, (3,), generator=generator) - 1
    return (frame + shift * signs).clamp(0, 1)


def _displaced(frame: Float[Tensor, "h w 3"], generator: torch.Generator) -> Float[Tensor, "h w 3"]:
    """A frame rolled by a third to two thirds of its sides, so that nothing is in its place."""
    height, width = frame.shape[:2]
    down, across = (1 / 3 + torch.rand(2, generator=generator) / 3).tolist()
    return torch.roll(frame, (math.ceil(down * height), math.ceil(across * width)), dims=(0, 1))
