"""Which way is up, and worlds that stand on their feet. Changes no scene's own frame."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..checks import check_choice, check_range
from ..ops.se3 import skew
from ..types import Cameras, Scene, Sim3

AXES = {
    "x": (1.0, 0.0, 0.0),
    "-x": (-1.0, 0.0, 0.0),
    "y": (0.0, 1.0, 0.0),
    "-y": (0.0, -1.0, 0.0),
    "z": (0.0, 0.0, 1.0),
    "-z": (0.0, 0.0, -1.0),
}
UP_RULES = ("keep", "cameras", "photo", *AXES)
"""Frozen from the first release: saved in users' workflows."""
WORLD_UP = AXES["-y"]
"""OpenCV's: y points down, in the user's world as in a camera."""


def stand_upright(scene: Scene, rule: str, photo: int = 0) -> Scene:
    """Turn the user's world so that what is up lies along `WORLD_UP`.

    The turn is the smallest one, about the world's origin, so that the heading stays.

    Args:
        scene: Its `up` and `world_from_scene` change, nothing else.
        rule: "keep" changes nothing; "cameras" trusts that the photographer held the camera level;
            "photo" takes one photo's own up; an axis names the direction that points up in the
            user's world as it is.
        photo: Index, for the rule "photo".

    Raises:
        InputError: If the rule is unknown or there is no such photo.
    """
    check_choice("Up", rule, UP_RULES)
    if rule == "keep":
        return scene
    rotation = scene.world_from_scene.rotation
    if rule == "cameras":
        up = estimate_up(scene.cameras)
    elif rule == "photo":
        check_range("Number of the photo that is upright", photo + 1, 1, len(scene.photos))
        up = -scene.cameras.camera_to_world[photo, :3, 1]
    else:
        up = rotation.mT @ torch.tensor(AXES[rule])
    turn = Sim3(
        rotation=smallest_rotation(rotation @ up, torch.tensor(WORLD_UP)),
        translation=torch.zeros(3),
        scale=1.0,
    )
    return replace(scene, up=up, world_from_scene=turn.compose(scene.world_from_scene))


def estimate_up(cameras: Cameras) -> Float[Tensor, "3"]:
    """Unit vector against gravity, if the photographer held the camera level.

    Level cameras have horizontal x-axes, so where they look in different directions the one
    direction that no x-axis leans to is vertical. Otherwise the mean of the cameras' own up.
    """
    upright = functional.normalize(-cameras.camera_to_world[:, :3, 1].mean(0), dim=0)
    sideways = cameras.camera_to_world[:, :3, 0]
    spread, directions = torch.linalg.eigh(sideways.mT @ sideways / len(cameras))
    vertical = directions[:, 0] * torch.sign(directions[:, 0] @ upright)
    # Telling apart needs x-axes some 10 degrees around (variance 0.01), and hardly any roll.
    clear = spread[1] > 0.01 and spread[0] < 0.1 * spread[1]
    return vertical if clear and float(vertical @ upright) > 0.7 else upright


def smallest_rotation(start: Float[Tensor, "3"], goal: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The rotation by the least angle that takes one unit vector to another (Rodrigues)."""
    start, goal = start.double(), goal.double()
    cosine = float(start @ goal)
    if cosine < -1 + 1e-9:  # opposite: half a turn about any axis across, best z, as depth stays
        axis = torch.eye(3, dtype=torch.float64)[2 - start.flip(0).abs().argmin()]
        across = functional.normalize(axis - (axis @ start) * start, dim=0)
        return (2 * torch.outer(across, across) - torch.eye(3)).float()
    cross = skew(torch.linalg.cross(start, goal))
    return (torch.eye(3) + cross + cross @ cross / (1 + cosine)).float()
