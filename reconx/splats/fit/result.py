"""What a fit hands on beside its Gaussians: a report, corrected scenes and views."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...ops.se3 import invert_pose
from ...types import Scene, Views


def make_report(
    names: Sequence[str], losses: Sequence[float], quality: Sequence[float], gaussians: int
) -> dict[str, object]:
    """What became of each picture.

    Args:
        names: Of the photos.
        losses: Of each step.
        quality: PSNR in dB of each photo, then of each generated frame that trained.
        gaussians: How many there are.
    """
    generated = quality[len(names) :]
    last = losses[-max(1, len(losses) // 10) :]
    return {
        "steps": len(losses),
        "loss": sum(last) / len(last),
        "gaussians": gaussians,
        "psnr_captured": dict(zip(names, quality[: len(names)], strict=True)),
        "psnr_generated": sum(generated) / len(generated) if generated else None,
    }


def refined_scene(scene: Scene, poses: Float[Tensor, "pose 4 4"]) -> Scene:
    """The scene with corrected cameras; each photo's points move with its camera.

    Args:
        scene: As it went in.
        poses: Of the photos, then of anything else.
    """
    before = scene.photo_cameras.camera_to_world
    after = poses[: len(before)]
    points = scene.points.clone()
    for view in (after != before).flatten(1).any(1).nonzero()[:, 0].tolist():
        motion = after[view] @ invert_pose(before[view])
        points[view] = points[view] @ motion[:3, :3].mT + motion[:3, 3]
    return replace(
        scene,
        photo_cameras=replace(scene.photo_cameras, camera_to_world=after),
        cameras=replace(scene.cameras, camera_to_world=after),
        points=points,
    )


def refined_views(views: Views, photos: int, poses: Float[Tensor, "pose 4 4"]) -> Views:
    """The views with corrected cameras; a captured frame takes its photo's.

    Args:
        views: As they went in.
        photos: How many photos the scene has.
        poses: Of the photos, then of the frames.
    """
    own = photos + torch.arange(len(views.cameras))
    source = torch.where(views.photo_index >= 0, views.photo_index.long(), own)
    return replace(views, cameras=replace(views.cameras, camera_to_world=poses[source]))
