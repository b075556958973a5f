"""What goes wrong in generated frames, done to good ones: warps, colour shifts, wrong patches.

Every kind is drawn anew for each frame, since a video model's errors do not stand still, and comes
back with the share of pixels that it changed.
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
    """How much of a frame is wrong, and how wrong."""

    name: str
    patches: float
    """Share of the frame that shows another place of another frame."""
    warps: float
    """Share of the frame that is bent."""
    bend: float
    """Largest displacement, in widths of the frame."""
    colours: float
    """Share of the frame whose colour is off."""
    shift: float
    """By how much, per channel, in either direction."""


SEVERITIES = (
    Severity(name="clean", patches=0.0, warps=0.0, bend=0.0, colours=0.0, shift=0.0),
    Severity(name="mild", patches=0.15, warps=0.15, bend=0.02, colours=0.15, shift=0.12),
    Severity(name="severe", patches=0.3, warps=0.3, bend=0.04, colours=0.3, shift=0.25),
)


def corrupt_frames(
    frames: Float[Tensor, "frame h w 3"], severity: Severity, seed: int
) -> tuple[Float[Tensor, "frame h w 3"], Bool[Tensor, "frame h w"]]:
    """Frames as a poor video model would have made them, and which pixels are wrong.

    Args:
        frames: At least two, unless nothing is corrupted.
        severity: What is done.
        seed: Of every random choice.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = frames.shape[1:3]
    corrupted, wrong = frames.clone(), torch.zeros(frames.shape[:3], dtype=torch.bool)
    for index in range(len(frames)):
        other = (index + 1 + _integer(len(frames) - 1, generator)) % len(frames)
        steps: tuple[tuple[float, Callable[[Tensor, Tensor], Tensor]], ...] = (
            (severity.warps, lambda frame, _: _bend(frame, severity.bend, generator)),
            (severity.colours, lambda frame, _: _tint(frame, severity.shift, generator)),
            (severity.patches, lambda _, source: _displaced(source, generator)),
        )
        for share, change in steps:
            if share > 0:
                mask = _rectangles(height, width, share, generator)
                changed = change(corrupted[index], frames[other])
                corrupted[index] = torch.where(mask[..., None], changed, corrupted[index])
                wrong[index] |= mask
    return corrupted, wrong


def _integer(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(max(1, below), (), generator=generator))


def _rectangles(
    height: int, width: int, share: float, generator: torch.Generator
) -> Bool[Tensor, "h w"]:
    """Rectangles at random places that cover a share of the picture."""
    mask = torch.zeros(height, width, dtype=torch.bool)
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
