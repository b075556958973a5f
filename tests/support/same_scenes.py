"""Scenes that are the same to anything that looks at them rightly."""

from dataclasses import replace

import torch
from torch import Tensor

from reconx.ops.se3 import so3_exp
from reconx.types import Cameras, Scene


def moved(scene: Scene, scale: float) -> tuple[Scene, Cameras]:
    """The scene and its cameras turned, shifted and scaled together."""
    rotation = so3_exp(torch.tensor([0.4, -1.1, 0.7]))
    shift = scale * torch.tensor([3.0, -2.0, 5.0])
    poses = scene.cameras.camera_to_world.clone()
    poses[:, :3, :3] = rotation @ poses[:, :3, :3]
    poses[:, :3, 3] = scale * poses[:, :3, 3] @ rotation.mT + shift
    cameras = replace(scene.cameras, camera_to_world=poses)
    return replace(scene, points=scale * scene.points @ rotation.mT + shift), cameras


def shuffled(scene: Scene) -> Scene:
    """The same pixels in another order, photos and all."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(scene.confidence[0].numel(), generator=generator)

    def shuffle(maps: Tensor) -> Tensor:
        return maps.flatten(1, 2)[:, order].reshape(maps.shape)

    return replace(
        scene,
        photos=replace(scene.photos, images=shuffle(scene.photos.images)),
        points=shuffle(scene.points),
        confidence=shuffle(scene.confidence),
        valid=shuffle(scene.valid),
    )
