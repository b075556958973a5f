"""A camera path as the Wan video models with camera control take it."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_range
from ..errors import InputError
from ..ops.pluecker import pluecker_rays
from ..ops.se3 import invert_pose
from ..types import Cameras

GROUP = 4
"""Frames that the model's VAE folds into one latent frame; the first stands for itself."""
SIZE_MULTIPLE = 16
"""Pixels per token along each side."""


def wan_camera_embedding(
    cameras: Cameras, motion_scale: int | float = 1.0
) -> Float[Tensor, "1 24 latent_frame height width"]:
    """Pluecker rays relative to the first camera, four frames side by side in the channels.

    The layout of VideoX-Fun's camera control: the first frame is repeated four times, then every
    four frames fill the channels (coordinate slowest) of one latent frame.

    Args:
        cameras: 4k + 1 of them; the scale of their world matters, since the rays' moments grow
            with the distance from the first camera.
        motion_scale: Multiplies those distances.

    Raises:
        InputError: If the count or the size is none that the models take.
    """
    check_range("Motion scale", motion_scale, 0, 1e3)
    count, width, height = len(cameras), cameras.width, cameras.height
    if count % GROUP != 1:
        raise InputError(
            f"Wan takes 4k+1 frames; the path has {count}. Choose the frame rule 4k+1 for the path."
        )
    if width % SIZE_MULTIPLE or height % SIZE_MULTIPLE:
        raise InputError(
            f"Wan takes widths and heights that are multiples of {SIZE_MULTIPLE}; the path has "
            f"{width} x {height}. Set the path's size."
        )
    poses = invert_pose(cameras.camera_to_world[:1].double()) @ cameras.camera_to_world.double()
    poses[:, :3, 3] *= motion_scale
    relative = replace(cameras, camera_to_world=poses.float())
    embedding = torch.empty(6, GROUP, 1 + count // GROUP, height, width)
    # Frame by frame, since all rays at once would take the embedding's memory several times.
    for frame in range(count):
        rays = pluecker_rays(relative[frame])[0].permute(2, 0, 1)
        if frame == 0:
            embedding[:, :, 0] = rays[:, None]
        else:
            place = frame + GROUP - 1
            embedding[:, place % GROUP, place // GROUP] = rays
    return embedding.flatten(0, 1)[None]
