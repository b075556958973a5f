"""Surfaces that only generated frames show, so that Gaussians can be placed there, too.

Gaussians are neither split nor born in the fit: where none is placed, no frame can teach anything.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ..geometry.depth_maps import DepthMaps, hides_measured
from ..geometry.fill import fill_depth
from ..ops.image import resize_images
from ..ops.photos import fit_size
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

TRUSTED_WEIGHT, LEAST_WEIGHT = 0.3, 0.02
"""Pixels that weigh more place Gaussians first, and others only where those left a hole: depth that
a wrong frame guesses would keep a right one out. What weighs less than the second places none."""
WITNESSES = 4
"""Frames and photos that tell the depth of a hole."""
BEST_APART, LEAST_APART = 0.1, 0.02
"""How far apart cameras stand, in depths or radians, that tell depth best: nearer ones hardly see
it, farther ones see something else. And from which distance on they are asked."""
SWEEP_SIDE = 160
"""Long side in pixels at which they are compared."""
DEPTHS = 64
"""Depths that are tried in holes."""
LEAST_HOLE = 0.002
"""Share of a frame below which its holes are not worth a view."""


def extend_scene(scene: Scene, views: Views, progress: Progress | None = None) -> Scene:
    """The scene with generated frames as further views, of what no earlier view covers.

    What is trusted comes first, then what is not; of either, frames come in rising distance from
    the photos, and what one of them covers is no hole to the next. Depth is what other frames and
    photos tell by agreeing with it, as far as they are trusted; where they do not tell, it
    continues what is around, on the background's side.

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
    points: dict[int, Tensor] = {}
    order = _outwards(scene, cameras, generated.tolist())
    turns = [(frame, least) for least in (TRUSTED_WEIGHT, LEAST_WEIGHT) for frame in order]
    task = (progress or SilentProgress()).start("Looking into holes", len(turns))
    for done, (frame, least) in enumerate(turns):
        camera, image = cameras[frame], pictures[frame, ..., :3]
        drawn = render_points(cloud, camera)
        hole = drawn.hole & (pictures[None, frame, ..., 3] > least)
        task.update(done + 1)
        if float(hole.float().mean()) < LEAST_HOLE or bool(drawn.hole.all()):
            continue
        depth = drawn.depth.masked_fill(drawn.hole, torch.nan)
        depth = torch.where(hole, witnesses.sweep(frame, hole[0]), depth)
        known = DepthMaps(depth=depth, confidence=drawn.confidence)
        guess = fill_depth(known, image[None], torch.ones_like(hole), camera).depth
        place = unproject_depth(guess.where(hole, torch.nan).nan_to_num(0.0), camera)
        stands = place.isfinite().all(-1)
        points[frame] = torch.where(stands[0, ..., None], place[0], points.get(frame, torch.nan))
        seen = PointCloud(
            points=place[stands],
            colours=image[stands[0]],
            confidence=torch.full((int(stands.sum()),), CONFIDENT),
            tangents=surface_tangents(place, stands, camera)[stands],
            photo_index=torch.full((int(stands.sum()),), -1),
        )
        cloud = _joined(cloud, seen)
    if not points:
        return scene
    kept = list(points)
    new, chosen = torch.stack([points[frame] for frame in kept]), views.cameras[kept]
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
        """Gather them, small: windows of a few pixels tell more of a small picture.

        Args:
            scene: Whose holes are looked into.
            cameras: Of all frames, at the size of the scene's views.
            pictures: Colours and weights of all frames, at that size.
            generated: Which frames are no photos.
        """
        width, height = fit_size(cameras.width, cameras.height, SWEEP_SIDE)
        photos = torch.cat([scene.photos.images, scene.photos.valid[..., None]], dim=-1)
        planes = [resize_images(part, width, height) for part in (pictures[generated], photos)]
        self._planes = torch.cat(planes).clamp(0, 1).permute(0, 3, 1, 2).contiguous()
        parts = [cameras[generated], scene.cameras]
        self._cameras = Cameras.concatenate([part.resized(width, height) for part in parts])
        self._place = {frame: place for place, frame in enumerate(generated)}
        self._distance = camera_distances(self._cameras, median_depth(scene))
        self._views = cameras
        self._photos = scene.cameras
        self._maps = DepthMaps(depth=view_depths(scene), confidence=scene.confidence)
        self._inverse_depths = choose_inverse_depths(self._maps.depth[scene.valid], DEPTHS)

    def sweep(self, frame: int, hole: Bool[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        """Depth as the best placed witnesses tell it, and in front of no measured surface."""
        place, size = self._place[frame], tuple(hole.shape)
        unlike = (self._distance[place] / BEST_APART).log().abs()
        unlike[self._distance[place] < LEAST_APART] = torch.inf
        near = [other for other in unlike.argsort(stable=True).tolist() if unlike[other].isfinite()]
        near = near[:WITNESSES]
        if not near:
            return torch.full(size, torch.nan)
        small = functional.adaptive_max_pool2d(hole[None].float(), self._planes.shape[-2:])[0] > 0
        swept = sweep_depth(
            self._planes[place, :3],
            small,
            self._cameras[place],
            self._planes[near],
            self._cameras[near],
            self._inverse_depths,
        )
        depth = functional.interpolate(swept[None, None], size=size, mode="nearest-exact")[0]
        maps = DepthMaps(
            depth=torch.cat([self._maps.depth, depth]),
            confidence=torch.cat([self._maps.confidence, torch.ones_like(depth)]),
        )
        cameras = Cameras.concatenate([self._photos, self._views[frame]])
        hides = hides_measured(depth[0], len(self._photos), maps, cameras)
        return depth[0].masked_fill(hides, torch.nan)


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
