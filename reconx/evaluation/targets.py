"""Held-out photos, and how well each way to show a scene meets them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..ops.metrics import psnr, ssim
from ..pipeline import Reconstruction
from ..render.gaussians import render_gaussians
from ..render.points import render_scene
from ..render.rasterizers.base import Rasterized
from ..splats.perceptual.lpips import Lpips
from ..types import Cameras, Gaussians
from .refine import COVERED, refine_camera
from .scores import Row, TargetScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A held-out photo and its true camera, in the scene's frame."""

    name: str
    """Of the photo."""
    camera: Cameras
    """One view, at the photo's size."""
    photo: Float[Tensor, "height width 3"]
    """sRGB in [0, 1]."""
    valid: Bool[Tensor, "height width"]
    """Pixels that count."""


def score_gaussians(
    name: str,
    meaning: str,
    gaussians: Gaussians,
    targets: Sequence[Target],
    *,
    background: int = 0,
    refine: bool = True,
) -> Row:
    """Score Gaussians in the scene's frame.

    Args:
        name: The row's.
        meaning: One line for people.
        gaussians: In the scene's frame.
        targets: What they should show.
        background: How many of the Gaussians, the last ones, are a guess: they are shown, but
            cover nothing, and no camera is brought to where they say.
        refine: Bring each camera to where its photo says it is; not where cameras are given.
    """
    surfaces = next(gaussians.split(len(gaussians) - background))

    def render(cameras: Cameras) -> Rasterized:
        drawn = render_gaussians(gaussians, cameras)
        if not background:
            return drawn
        return drawn._replace(alpha=render_gaussians(surfaces, cameras).alpha)

    def show(target: Target, camera: Cameras) -> tuple[Tensor, Tensor]:
        drawn = render(camera)
        return drawn.colour[0].clamp(0, 1), drawn.alpha[0] > COVERED

    with torch.no_grad():
        cameras = [
            refine_camera(render, target.camera, target.photo, target.valid)
            if refine
            else target.camera
            for target in targets
        ]
        scores = [
            _score(target, show, camera) for target, camera in zip(targets, cameras, strict=True)
        ]
    return Row(name=name, meaning=meaning, scores=tuple(scores))


def score_points(result: Reconstruction, targets: Sequence[Target]) -> Row:
    """Score a scene's points without a fit."""

    def show(target: Target, camera: Cameras) -> tuple[Tensor, Tensor]:
        renders = render_scene(result.scene, camera)
        return renders.colour[0], ~renders.hole[0]

    scores = [_score(target, show, target.camera) for target in targets]
    return Row(name="points", meaning="confident points without a fit", scores=tuple(scores))


def score_nearest(result: Reconstruction, targets: Sequence[Target]) -> Row:
    """Score the context photo that was taken nearest to each target."""
    scene = result.scene

    def show(target: Target, camera: Cameras) -> tuple[Tensor, Tensor]:
        gaps = torch.linalg.vector_norm(scene.photo_cameras.centers - camera.centers, dim=-1)
        nearest = int(gaps.argmin())
        size = target.photo.shape[:2]
        photo = scene.photos.images[nearest]
        if photo.shape[:2] != size:
            photo = torch.nn.functional.interpolate(
                photo.permute(2, 0, 1)[None], size, mode="bilinear"
            )[0].permute(1, 2, 0)
        return photo, torch.ones(size, dtype=torch.bool)

    scores = [_score(target, show, target.camera) for target in targets]
    return Row(name="nearest", meaning="the nearest context photo", scores=tuple(scores))


def with_lpips(row: Row, targets: Sequence[Target], network: Lpips | None) -> Row:
    """The row with the distance of each picture from its photo; as it is without a network.

    What the photo does not tell is taken from the picture, so that it costs nothing.
    """
    if network is None:
        return row
    scores = []
    with torch.no_grad():
        for score, target in zip(row.scores, targets, strict=True):
            photo = torch.where(target.valid[..., None], target.photo, score.picture)
            scores.append(replace(score, lpips=float(network(score.picture, photo))))
    return replace(row, scores=tuple(scores))


def _score(
    target: Target, show: Callable[[Target, Cameras], tuple[Tensor, Tensor]], camera: Cameras
) -> TargetScore:
    picture, covered = show(target, camera)
    start, _ = show(target, target.camera)
    return TargetScore(
        photo=target.name,
        psnr=psnr(picture, target.photo, target.valid),
        ssim=ssim(picture[None], target.photo[None], target.valid[None]),
        covered=float(covered.float().mean()),
        psnr_covered=psnr(picture, target.photo, covered & target.valid),
        psnr_unrefined=psnr(start, target.photo, target.valid),
        picture=picture,
    )
