"""Surfaces that only generated frames show, so that Gaussians can be placed there, too.

Gaussians are neither split nor born in the fit: where none is placed, no frame can teach anything.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..geometry.depth_maps import DepthMaps, hides_measured
from ..geometry.fill import fill_depth
from ..ops.image import resize_images
from ..ops.projection import unproject_depth
from ..progress import Progress, SilentProgress
from ..render.cloud import PointCloud, scene_cloud, surface_tangents
from ..render.points import render_points
from ..trajectory.focus import camera_distances, median_depth
from ..types import CONFIDENT, FILLED, Cameras, Scene, Views
from .confidence import weights_from_confidence
from .confidence.planes import choose_inverse_depths
from .confidence.sweep import sweep_depth
from .placing import view_depths

LEAST_WEIGHT = 0.02
"""A pixel that weighs less has nothing to place Gaussians for."""
WITNESSES = 4
"""Frames and photos that tell the depth of a hole."""
BEST_APART, LEAST_APART = 0.1, 0.02
"""How far apart cameras stand, in depths or radians, that tell depth best: nearer ones hardly see
it, farther ones see something else. And from which distance on they are asked."""
DEPTHS = 64
"""Depths that are tried in holes."""
LEAST_HOLE = 0.002
"""Share of a frame below which its holes are not worth a view."""


def extend_scene(scene: Scene, views: Views, progress: Progress | None = None) -> Scene:
    """The scene with generated frames as further views, of what no earlier view covers.

    Frames come in rising distance from the photos, and what one of them covers is no hole to the
    next. Depth is what other frames and photos tell by agreeing with it, as far as they are
    trusted; where they do not tell, it continues what is around, on the background's side.

    Args:
        scene: Its own views stay as they are.
        views: Frames that are judged.
        progress: Told after every frame.

    Returns:
        A scene to place Gaussians on; frames hold guessed points only, of confidence `FILLED`.
    """
    assert views.confidence is not None
    generated = (views.photo_index < 0).nonzero()[:, 0]
    photos, width, height = scene.photos, scene.cameras.width, scene.cameras.height
    cameras = views.cameras.resized(width, height)
    weights = weights_from_confidence(views.confidence)[..., None]
    # What weighs nothing shall have no influence, be it by a picture's edges.
    frames = torch.where(weights > 0, views.frames, 0.0)
    pictures = resize_images(torch.cat([frames, weights], dim=-1), width, height).clamp(0, 1)
    witnesses = _Witnesses(scene, cameras, pictures, generated.tolist())
    cloud = _solid(scene_cloud(scene, min_confidence=1.0))
    kept: list[int] = []
    points: list[Tensor] = []
    task = (progress or SilentProgress()).start("Looking into holes", len(generated))
    for done, frame in enumerate(_outwards(scene, cameras, generated.tolist())):
        camera, image = cameras[frame], pictures[frame, ..., :3]
        drawn = render_points(cloud, camera)
        hole = drawn.hole & (pictures[None, frame, ..., 3] > LEAST_WEIGHT)
        task.update(done + 1)
        if float(hole.float().mean()) < LEAST_HOLE or bool(drawn.hole.all()):
            continue
        depth = drawn.depth.masked_fill(drawn.hole, torch.nan)
        depth = torch.where(hole, witnesses.sweep(frame, hole[0]), depth)
        known = DepthMaps(depth=depth, confidence=drawn.confidence)
        guess = fill_depth(known, image[None], torch.ones_like(hole), camera).depth
        place = unproject_depth(guess.where(hole, torch.nan).nan_to_num(0.0), camera)
        stands = place.isfinite().all(-1)
        kept.append(frame)
        points.append(place[0])
        seen = PointCloud(
            points=place[stands],
            colours=image[stands[0]],
            confidence=torch.full((int(stands.sum()),), CONFIDENT),
            tangents=surface_tangents(place, stands, camera)[stands],
            photo_index=torch.full((int(stands.sum()),), -1),
        )
        cloud = _joined(cloud, seen)
    if not kept:
        return scene
    new, chosen = torch.stack(points), views.cameras[kept]
    valid = new.isfinite().all(-1)
    size = (photos.width, photos.height)
    return replace(
        scene,
        photos=replace(
            photos,
            images=torch.cat([photos.images, resize_images(frames[kept], *size).clamp(0, 1)]),
            valid=torch.cat([photos.valid, torch.ones(len(kept), size[1], size[0]).bool()]),
            names=(*photos.names, *(f"frame {frame + 1}" for frame in kept)),
            original_sizes=(*photos.original_sizes, *(size,) * len(kept)),
            to_original=torch.cat([photos.to_original, torch.eye(3).repeat(len(kept), 1, 1)]),
            prior=None,
        ),
        photo_cameras=Cameras.concatenate([scene.photo_cameras, chosen.resized(*size)]),
        cameras=Cameras.concatenate([scene.cameras, cameras[kept]]),
        points=torch.cat([scene.points, new]),
        confidence=torch.cat([scene.confidence, torch.where(valid, FILLED, 1.0)]),
        valid=torch.cat([scene.valid, valid]),
    )


class _Witnesses:
    """Generated frames, then photos: who tells the depth of a frame's holes."""

    def __init__(
        self,
        scene: Scene,
        cameras: Cameras,
        pictures: Float[Tensor, "frame h w 4"],
        generated: list[int],
    ) -> None:
        """Gather them at the size of the scene's views.

        Args:
            scene: Whose holes are looked into.
            cameras: Of all frames, at that size.
            pictures: Colours and weights of all frames, at that size.
            generated: Which frames are no photos.
        """
        photos = torch.cat([scene.photos.images, scene.photos.valid[..., None]], dim=-1)
        photos = resize_images(photos, cameras.width, cameras.height).clamp(0, 1)
        self._planes = torch.cat([pictures[generated], photos]).permute(0, 3, 1, 2).contiguous()
        self._cameras = Cameras.concatenate([cameras[generated], scene.cameras])
        self._place = {frame: place for place, frame in enumerate(generated)}
        self._distance = camera_distances(self._cameras, median_depth(scene))
        self._photos = scene.cameras
        self._maps = DepthMaps(depth=view_depths(scene), confidence=scene.confidence)
        self._inverse_depths = choose_inverse_depths(self._maps.depth[scene.valid], DEPTHS)

    def sweep(self, frame: int, hole: Bool[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        """Depth as the best placed witnesses tell it, and in front of no measured surface."""
        place = self._place[frame]
        unlike = (self._distance[place] / BEST_APART).log().abs()
        unlike[self._distance[place] < LEAST_APART] = torch.inf
        near = [other for other in unlike.argsort(stable=True).tolist() if unlike[other].isfinite()]
        near, camera = near[:WITNESSES], self._cameras[place]
        if not near:
            return torch.full((camera.height, camera.width), torch.nan)
        depth = sweep_depth(
            self._planes[place, :3],
            hole,
            camera,
            self._planes[near],
            self._cameras[near],
            self._inverse_depths,
        )
        maps = DepthMaps(
            depth=torch.cat([self._maps.depth, depth[None]]),
            confidence=torch.cat([self._maps.confidence, torch.ones_like(depth)[None]]),
        )
        cameras = Cameras.concatenate([self._photos, camera])
        hides = hides_measured(depth, len(self._photos), maps, cameras)
        return depth.masked_fill(hides, torch.nan)


def _outwards(scene: Scene, cameras: Cameras, frames: list[int]) -> list[int]:
    """Frames in rising distance from their nearest photo."""
    captured = scene.cameras
    distance = camera_distances(Cameras.concatenate([cameras, captured]), median_depth(scene))
    nearest = distance[: len(cameras), len(cameras) :].amin(1)
    return sorted(frames, key=lambda frame: float(nearest[frame]))


def _solid(cloud: PointCloud) -> PointCloud:
    """Guessed points cover what lies behind them, too: Gaussians will stand there."""
    return replace(cloud, confidence=cloud.confidence.clamp_min(CONFIDENT))


def _joined(first: PointCloud, second: PointCloud) -> PointCloud:
    fields = {
        name: torch.cat([getattr(first, name), getattr(second, name)])
        for name in first.__dataclass_fields__
    }
    return PointCloud(**fields)
