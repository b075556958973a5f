"""What stands in a procedural room, how it is painted, and how a camera moves through it.

World number i is the same on every machine: all of it is drawn from a generator that is seeded with
the world's number, by uniform numbers alone, which torch draws alike everywhere on the CPU.
"""

import hashlib
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ...types import Cameras

OBJECTS = 16
"""Tried per world; those in the camera's way are left out."""
WAVES = 6
"""Of a texture."""
CLEARANCE = 0.35
"""Metres that the camera keeps from everything."""
_WALL = 0.9
"""Share of a room's half sizes beyond which no camera goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Textures:
    """Solid textures, one per surface: waves through space, some with sharp edges."""

    base: Float[Tensor, "surface 3"]
    """Mean colour."""
    waves: Float[Tensor, "surface wave 3"]
    """Wave vectors, radians per metre in the surface's own frame."""
    phases: Float[Tensor, "surface wave"]
    """Radians."""
    colours: Float[Tensor, "surface wave 3"]
    """What each wave adds at its crest."""
    sharpness: Float[Tensor, "surface wave"]
    """Near 0 a sine; above 3 nearly a stripe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A room with boxes, panels and balls. Metres; Y points down; the room's middle is 0.

    Surfaces are numbered: boxes, then balls, then the room's six walls (axis by axis, the negative
    side first).
    """

    room: Float[Tensor, "3"]
    """Half sizes."""
    box_centres: Float[Tensor, "box 3"]
    """Of boxes and panels."""
    box_rotations: Float[Tensor, "box 3 3"]
    """From a box's own frame to the world."""
    box_halves: Float[Tensor, "box 3"]
    """Half sizes in their own frames."""
    ball_centres: Float[Tensor, "ball 3"]
    """Of balls."""
    ball_radii: Float[Tensor, " ball"]
    """Likewise."""
    textures: Textures
    """One per surface."""
    light: Float[Tensor, "3"]
    """Unit vector towards it."""
    cameras: Cameras
    """One per frame, on a smooth path."""


class _Dice:
    """Uniform numbers of one world."""

    def __init__(self, seed: int, number: int) -> None:
        digest = hashlib.sha256(f"reconx-world-1/{seed}/{number}".encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))

    def between(self, low: int | float, high: int | float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self._generator)

    def one(self, low: int | float, high: int | float) -> float:
        return float(self.between(low, high))


def make_world(seed: int, number: int, *, frames: int, width: int, height: int) -> World:
    """Draw a world.

    Args:
        seed: Of the whole dataset.
        number: Which world.
        frames: Of its camera path.
        width: Of a frame, in pixels.
        height: Likewise.
    """
    dice = _Dice(seed, number)
    room = torch.stack([dice.between(2.2, 3.6), dice.between(1.2, 1.5), dice.between(2.2, 3.6)])
    cameras = _make_path(dice, room, frames, width, height)
    centres, rotations, halves = _make_boxes(dice, room)
    ball_radii = dice.between(0.15, 0.45, OBJECTS // 3)
    ball_centres = dice.between(-0.6, 0.6, OBJECTS // 3, 3) * room
    clear_boxes = _is_clear(centres, halves.norm(dim=-1), cameras.centers)
    clear_balls = _is_clear(ball_centres, ball_radii, cameras.centers)
    painted = torch.cat([clear_boxes, clear_balls, torch.ones(6, dtype=torch.bool)])
    textures = _make_textures(dice, len(painted))
    light = functional.normalize(dice.between(-1, 1, 3) + torch.tensor([0.0, -1.0, 0.0]), dim=0)
    return World(
        room=room,
        box_centres=centres[clear_boxes],
        box_rotations=rotations[clear_boxes],
        box_halves=halves[clear_boxes],
        ball_centres=ball_centres[clear_balls],
        ball_radii=ball_radii[clear_balls],
        textures=Textures(
            **{name: getattr(textures, name)[painted] for name in Textures.__dataclass_fields__}
        ),
        light=light,
        cameras=cameras,
    )


def _make_boxes(
    dice: _Dice, room: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "box 3"], Float[Tensor, "box 3 3"], Float[Tensor, "box 3"]]:
    """Boxes turned about the vertical; every third is a thin panel, every other floats."""
    count = OBJECTS - OBJECTS // 3
    halves = dice.between(0.12, 0.5, count, 3)
    halves[::3, 2] = 0.02
    centres = dice.between(-0.6, 0.6, count, 3) * room
    standing = torch.arange(count) % 2 == 0
    centres[standing, 1] = room[1] - halves[standing, 1]
    angles = dice.between(0, math.pi, count)
    rotations = torch.eye(3).repeat(count, 1, 1)
    rotations[:, 0, 0] = rotations[:, 2, 2] = angles.cos()
    rotations[:, 0, 2], rotations[:, 2, 0] = angles.sin(), -angles.sin()
    return centres, rotations, halves


def _is_clear(
    centres: Float[Tensor, "object 3"], radii: Float[Tensor, " object"], path: Float[Tensor, "n 3"]
) -> Tensor:
    """Whether the camera passes each object at a distance."""
    return torch.cdist(centres, path).amin(1) > radii + CLEARANCE


def _make_path(
    dice: _Dice, room: Float[Tensor, "3"], frames: int, width: int, height: int
) -> Cameras:
    """A part of a turn around the middle, rising and falling, eyes on a moving target."""
    share = torch.linspace(0, 1, frames)
    start, sweep = (
        dice.one(0, 2 * math.pi),
        dice.one(0.35, 1.2) * (1 if dice.one(-1, 1) > 0 else -1),
    )
    angle = start + sweep * share
    reach = torch.lerp(dice.between(0.55, _WALL), dice.between(0.55, _WALL), share)
    rise = torch.lerp(dice.between(-0.4, 0.4), dice.between(-0.4, 0.4), share)
    sway = 0.08 * torch.sin(2 * math.pi * share + dice.between(0, 2 * math.pi))
    places = torch.stack(
        [room[0] * reach * angle.cos(), room[1] * (rise + sway), room[2] * reach * angle.sin()], -1
    )
    ends = dice.between(-0.25, 0.25, 2, 3) * room
    targets = torch.lerp(ends[0], ends[1], share[:, None])
    focal = max(width, height) / (2 * math.tan(math.radians(dice.one(50, 80)) / 2))
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return Cameras(
        camera_to_world=_look(places, targets),
        K=K.repeat(frames, 1, 1),
        width=width,
        height=height,
    )


def _look(
    places: Float[Tensor, "frame 3"], targets: Float[Tensor, "frame 3"]
) -> Float[Tensor, "frame 4 4"]:
    """Poses that look at targets, level."""
    forward = functional.normalize(targets - places, dim=-1)
    down = torch.tensor([0.0, 1.0, 0.0]).expand_as(forward)
    right = functional.normalize(torch.linalg.cross(down, forward), dim=-1)
    poses = torch.eye(4).repeat(len(places), 1, 1)
    poses[:, :3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], -1)
    poses[:, :3, 3] = places
    return poses


def _make_textures(dice: _Dice, surfaces: int) -> Textures:
    """Coarse waves are strong and fine ones weak, as in pictures of real places."""
    direction = functional.normalize(dice.between(-1, 1, surfaces, WAVES, 3), dim=-1)
    metres = 1.6 * 0.06 ** dice.between(0, 1, surfaces, WAVES)
    strength = 0.06 + 0.14 * (metres / 1.6)[..., None].sqrt()
    light, hue = dice.between(-1, 1, surfaces, WAVES, 1), dice.between(-1, 1, surfaces, WAVES, 3)
    return Textures(
        base=dice.between(0.25, 0.75, surfaces, 3),
        waves=direction * (2 * math.pi / metres)[..., None],
        phases=dice.between(0, 2 * math.pi, surfaces, WAVES),
        colours=(0.7 * light + 0.5 * hue) * strength,
        sharpness=dice.between(0.05, 5.0, surfaces, WAVES),
    )
