"""Procedural rooms as a dataset like any other: numbered scenes of posed frames, with depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from ...checks import check_range
from ...errors import InputError
from ...ops.photos import with_known_cameras
from ...types import Photos
from ..base import check_frames
from .casting import render_world
from .world import World, make_world


@dataclass(frozen=True, slots=True, kw_only=True)
class ProceduralOptions:
    """Which worlds, and how they are filmed."""

    scenes: int = 1000
    """How many."""
    first: int = 0
    """Number of the first: worlds to train on and to test on have numbers apart."""
    seed: int = 0
    """Another seed, other worlds."""
    frames: int = 64
    """Of each world's path."""
    width: int = 64
    """Pixels."""
    height: int = 64
    """Pixels."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, low in {"scenes": 1, "first": 0, "seed": 0, "frames": 2}.items():
            check_range(f"Procedural '{name}'", getattr(self, name), low)
        for name in ("width", "height"):
            check_range(f"Procedural '{name}'", getattr(self, name), 8)


class ProceduralScenes:
    """Worlds, drawn when they are asked for; scene "7" is world 7 on every machine."""

    def __init__(self, options: ProceduralOptions) -> None:
        """Draw nothing yet."""
        self.options = options
        # Pictures and depth of one clip are asked for one after the other.
        self._drawn = lru_cache(maxsize=2)(self._draw)

    def scenes(self) -> tuple[str, ...]:
        """Numbers in their order."""
        return tuple(str(self.options.first + i) for i in range(self.options.scenes))

    def length(self, scene: str) -> int:
        """Frames of a path; alike for all."""
        return self.options.frames

    def world(self, scene: str) -> World:
        """What stands in a scene.

        Raises:
            InputError: If it is none of these scenes.
        """
        number = int(scene) - self.options.first if scene.isdecimal() else -1
        if not 0 <= number < self.options.scenes:
            last = self.options.first + self.options.scenes - 1
            raise InputError(
                f"Procedural scene '{scene}' is not among those asked for; expected a number from "
                f"{self.options.first} to {last}."
            )
        sizes = {name: getattr(self.options, name) for name in ("frames", "width", "height")}
        return make_world(self.options.seed, int(scene), **sizes)

    def read(self, scene: str, frames: Sequence[int]) -> Photos:
        """Some frames of a scene with their true cameras as prior.

        Raises:
            InputError: If there is no such scene or frame.
        """
        world, images, _ = self._drawn(scene, tuple(frames))
        height, width = images.shape[1:3]
        photos = Photos(
            images=images,
            valid=torch.ones(images.shape[:3], dtype=torch.bool),
            names=tuple(f"frame-{frame}" for frame in frames),
            original_sizes=((width, height),) * len(images),
            to_original=torch.eye(3).repeat(len(images), 1, 1),
        )
        cameras = world.cameras[list(frames)]
        return with_known_cameras(photos, cameras.K, cameras.camera_to_world)

    def read_depth(self, scene: str, frames: Sequence[int]) -> list[Float[Tensor, "height width"]]:
        """Exact z-depth in metres.

        Raises:
            InputError: If there is no such scene or frame.
        """
        return list(self._drawn(scene, tuple(frames))[2])

    def _draw(
        self, scene: str, frames: tuple[int, ...]
    ) -> tuple[World, Float[Tensor, "frame h w 3"], Float[Tensor, "frame h w"]]:
        check_frames(scene, frames, self.options.frames)
        world = self.world(scene)
        return world, *render_world(world, list(frames))
