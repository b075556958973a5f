"""How far the photos of a scene show the same surfaces.

A photo shows a point that lies within its picture and not behind what it shows there. Guessed
points count as measured ones do: stereo measures only what two photos show, so that the measured
ones alone would overlap everywhere.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ..ops.projection import inside_image, project_points, world_to_camera
from ..types import Overlap, Scene

SAMPLES = 12_000
"""Points per photo that are looked up in all others, whose cost grows with the photos' square."""
HIDDEN_SHARE = 0.05
"""A point farther than what a photo shows in its place by more than this share is hidden to it."""


def measure_overlap(scene: Scene) -> Overlap:
    """Look up in every photo what each of the others shows."""
    height, width = scene.points.shape[1:3]
    step = math.ceil(math.sqrt(height * width / SAMPLES))
    points, stands = (part[:, ::step, ::step] for part in (scene.points, scene.valid))
    views = len(scene.photos)
    seen = torch.stack([_shown_by(scene, other, points) for other in range(views)], dim=1)
    seen &= stands[:, None]
    own = torch.arange(views)
    seen[own, own] = stands
    angle, middle = torch.empty(views, views), torch.empty(views, views, 3)
    for i in range(views):
        for j in range(i, views):
            shared = torch.cat([points[i][seen[i, j]], points[j][seen[j, i]]])
            centers = scene.cameras.centers[[i, j]]
            angle[i, j] = angle[j, i] = _angle_degrees(shared, centers)
            middle[i, j] = middle[j, i] = _middle(shared, centers)
    witnesses = seen.sum(dim=1).repeat_interleave(step, 1).repeat_interleave(step, 2)
    return Overlap(
        share=seen.sum(dim=(2, 3)) / stands.sum(dim=(1, 2)).clamp_min(1)[:, None],
        angle_degrees=angle,
        middle=middle,
        witnesses=witnesses[:, :height, :width],
    )


def _shown_by(
    scene: Scene, other: int, points: Float[Tensor, "view h w 3"]
) -> Bool[Tensor, "view h w"]:
    """True for points that one photo shows; false where they are NaN."""
    camera, whole = scene.cameras[other], scene.photo_cameras[other]
    pixels, z = project_points(points, camera.viewmats[0], camera.K[0])
    shown = (z > 0) & inside_image(pixels, camera.width, camera.height)
    column, row = pixels[shown].long().unbind(-1)
    surface = world_to_camera(scene.points[other], camera.viewmats[0])[..., 2][row, column]
    # Where this photo knows no surface, which is NaN, nothing is known to hide the point.
    visible = ~(z[shown] > surface * (1 + HIDDEN_SHARE))
    # Padding and masks are known at the photos' size.
    ratio = torch.tensor([whole.width / camera.width, whole.height / camera.height])
    column, row = (pixels[shown] * ratio).long().unbind(-1)
    shown[shown.clone()] = visible & scene.photos.valid[other, row, column]
    return shown


def _angle_degrees(points: Float[Tensor, "n 3"], centers: Float[Tensor, "2 3"]) -> float:
    """Median angle under which the points see two cameras; NaN without a point."""
    first, second = (functional.normalize(points - center, dim=-1) for center in centers)
    # Of the half angle: an arc cosine loses half its digits where the lines are nearly parallel.
    half = torch.asin((0.5 * (first - second).norm(dim=-1)).clamp(max=1))
    return 2 * math.degrees(float(half.median())) if len(points) else math.nan


def _middle(points: Float[Tensor, "n 3"], centers: Float[Tensor, "2 3"]) -> Float[Tensor, "3"]:
    """Mean of the half of the points whose distance from the cameras is usual; NaN without one.

    The sky, on its far shell, must not draw it away; a median per axis would turn with the axes.
    """
    order = (points - centers.mean(dim=0)).norm(dim=-1).argsort()
    quarter = len(points) // 4
    return points[order[quarter : len(points) - quarter]].mean(dim=0)
