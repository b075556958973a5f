"""Frames from the photos alone: each pixel looks its colour up in the photos that saw its surface.

No weights, nothing invented: what no photo saw is continued from the background, at confidence 1.
Where the point renders were edited, the edit shows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ...ops.image import close_gaps, local_maximum, resize_masks
from ...ops.photos import resize_photos
from ...ops.projection import project_points, sample_image, unproject_depth, world_to_camera
from ...progress import Progress, run_interruptibly
from ...render.cloud import PointCloud, scene_cloud
from ...render.points import SAME_SURFACE, render_points
from ...render.threads import map_frames
from ...trajectory.focus import camera_distances, median_depth
from ...types import FILLED, Cameras, PointRenders, Scene
from ..base import BackboneSpec, Clip, ClipRequest
from ..fitting import fit_cameras_to_spec
from .background import fill_from_background

NEIGHBOURS = 4
"""Photos that a frame is blended from: the most alike ones."""
SHARPNESS = 1e-4
"""1 - cosine of the angle (0.8 degrees) below which photos are blended rather than chosen from."""
EDGE_DEPTH = 0.05
"""Relative step in depth that makes a silhouette, where a photo's pixels mix two surfaces."""
EDGE_WEIGHT = 0.01
"""What a look-up beside a silhouette counts: less than any clean one, yet more than a hole."""
SMALL_GAP = 2
"""Gaps of up to twice this many pixels count as filled; wider ones as unknown."""


class WarpBackbone:
    """Blends the photos along the path through the point cloud.

    Unstructured lumigraph rendering (Buehler et al. 2001) over the geometry of the scene: every
    photo's points are drawn into the frame, surfaces that agree with the nearest one are merged,
    and each photo that saw the merged surface is looked up where it projects, weighed by viewing
    angle and confidence.
    """

    def __init__(self, spec: BackboneSpec) -> None:
        """Keep what the registry says of this backbone."""
        self.spec = spec

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        """Any count and size is legal."""
        return fit_cameras_to_spec(cameras, self.spec)

    def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
        """Blend every frame; keyframes show themselves where they are valid."""
        return run_interruptibly(partial(self._generate, request), progress)

    def _generate(self, request: ClipRequest, progress: Progress) -> Clip:
        """On a thread of its own: one large frame can take seconds."""
        sources = _Sources.of(request)
        nearest = _nearest_photos(request.scene, request.cameras)
        task = progress.start("Blending photos", len(request.cameras))
        frames, confidences = [], []

        def alive() -> None:
            task.update(len(frames))

        def blend(index: int) -> tuple[Tensor, Tensor]:
            edit = _Edit.of(request, index)
            return _blend(sources, request.cameras[index], nearest[index], edit, alive)

        for frame, confidence in map_frames(blend, len(request.cameras), request.device):
            frames.append(frame)
            confidences.append(confidence)
            task.update(len(frames), preview=lambda shown=frame: shown)
        for keyframe in request.keyframes:
            shown = frames[keyframe.index]
            frames[keyframe.index] = torch.where(keyframe.valid[..., None], keyframe.image, shown)
        return Clip(frames=torch.stack(frames), confidence=torch.stack(confidences))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """What frames are blended from."""

    pictures: Float[Tensor, "view height width 5"]
    """Colour; 1 where the photo is valid; 1 away from silhouettes."""
    cameras: Cameras
    """At the pictures' size."""
    clouds: list[PointCloud]
    """One per photo, on the device that draws."""
    neutral: Float[Tensor, "3"]
    """The photos' mean colour."""

    @staticmethod
    def of(request: ClipRequest) -> "_Sources":
        scene, cameras = request.scene, request.scene.photo_cameras
        # A photo larger than it shows in the frames would be looked up with aliasing.
        shrink = min(1.0, float(request.cameras.K[:, 0, 0].mean() / cameras.K[:, 0, 0].mean()))
        width, height = (max(8, round(side * shrink)) for side in (cameras.width, cameras.height))
        photos = resize_photos(scene.photos, width, height)
        cloud = scene_cloud(scene)
        clean = resize_masks(~_silhouettes(scene), width, height)
        masks = torch.stack([photos.valid, clean], dim=-1).float()
        return _Sources(
            pictures=torch.cat([photos.images, masks], dim=-1),
            cameras=cameras.resized(width, height),
            clouds=[
                cloud.select(cloud.photo_index == view).to(request.device)
                for view in range(len(photos))
            ],
            neutral=photos.images[photos.valid].mean(0),
        )


def _silhouettes(scene: Scene) -> Bool[Tensor, "view h w"]:
    """Pixels beside another measured surface that is clearly nearer or farther."""
    z = torch.stack(
        [
            world_to_camera(points, viewmat)[..., 2]
            for points, viewmat in zip(scene.points, scene.cameras.viewmats, strict=True)
        ]
    )
    farthest, nearest = (
        local_maximum(sign * z.where(scene.measured, -sign * torch.inf), 1) for sign in (1, -1)
    )
    return farthest > -nearest * (1 + EDGE_DEPTH)


def _nearest_photos(scene: Scene, cameras: Cameras) -> list[list[int]]:
    """For each camera the photos most like it, in rising order of distance."""
    captured = scene.photo_cameras
    both = torch.cat([cameras.camera_to_world, captured.camera_to_world])
    joined = replace(cameras, camera_to_world=both, K=torch.cat([cameras.K, captured.K]))
    distance = camera_distances(joined, median_depth(scene))[: len(cameras), len(cameras) :]
    return distance.argsort(dim=1, stable=True)[:, :NEIGHBOURS].tolist()


class _Edit(NamedTuple):
    """What somebody changed in one frame's renders."""

    painted: Bool[Tensor, "height width"]
    erased: Bool[Tensor, "height width"]
    colour: Float[Tensor, "height width 3"]
    confidence: Float[Tensor, "height width"]

    @staticmethod
    def of(request: ClipRequest, index: int) -> "_Edit":
        renders = request.renders
        hole = renders.hole[index]
        edited = torch.zeros_like(hole) if request.edited is None else request.edited[index]
        return _Edit(
            edited & ~hole, edited & hole, renders.colour[index], renders.confidence[index]
        )

    def paint(self, frame: Float[Tensor, "height width 3"]) -> Float[Tensor, "height width 3"]:
        return torch.where(self.painted[..., None], self.colour, frame)


def _blend(
    sources: _Sources,
    camera: Cameras,
    views: list[int],
    edit: _Edit,
    alive: Callable[[], None],
) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width"]]:
    """One frame and its confidence; what is erased counts as never seen.

    Calls `alive` a few times, so that work which nobody waits for any more ends soon.
    """
    layers = []
    for view in views:
        layers.append(render_points(sources.clouds[view], camera))
        alive()
    depth, agrees = _merge_surfaces(layers)
    seen = agrees.any(0) & ~edit.erased
    points = unproject_depth(depth[None], camera)[0][seen]
    total = torch.zeros(len(points), 1)
    colour, confidence = torch.zeros(len(points), 3), torch.zeros(len(points), 1)
    for view, layer, agree in zip(views, layers, agrees, strict=True):
        K, viewmat = sources.cameras.K[view], sources.cameras.viewmats[view]
        pixels, _ = project_points(points, viewmat, K)
        sampled = sample_image(sources.pictures[view], pixels)
        cosine = functional.cosine_similarity(
            points - camera.centers[0], points - sources.cameras.centers[view], dim=-1
        )
        certain = layer.confidence[0][seen]
        weight = torch.log(certain) * agree[seen] / (1 - cosine + SHARPNESS)
        # Beside padding and masks the look-up mixes in pixels that are none.
        weight = weight * (sampled[:, 3] > 0.99) * sampled[:, 4].clamp_min(EDGE_WEIGHT)
        weight = weight[:, None]
        total += weight
        colour += weight * sampled[:, :3]
        confidence += weight * certain[:, None]
        alive()

    has_colour = total[:, 0] > 0
    seen[seen.clone()] = has_colour
    frame = torch.zeros(camera.height, camera.width, 3)
    frame[seen] = (colour / total)[has_colour].clamp(0, 1)
    # Painted before, so that holes continue what was painted; and after, over holes themselves.
    frame = fill_from_background(edit.paint(frame), depth, seen, sources.neutral)
    small = close_gaps(seen[None], SMALL_GAP)[0] & ~edit.erased
    certainty = torch.where(small, FILLED, 1.0)
    certainty[seen] = (confidence / total)[has_colour, 0]
    return edit.paint(frame), torch.where(edit.painted, edit.confidence, certainty)


def _merge_surfaces(
    layers: list[PointRenders],
) -> tuple[Float[Tensor, "height width"], Bool[Tensor, "layer height width"]]:
    """Depth of the nearest surface, and which layers show that surface.

    The depth is the mean of those that agree, so that all photos are looked up at one point: from
    slightly different points they would show a double picture.
    """
    depths = torch.cat([layer.depth for layer in layers])
    holes = torch.cat([layer.hole for layer in layers])
    certainty = torch.log(torch.cat([layer.confidence for layer in layers]))
    front = depths.masked_fill(holes, torch.inf).amin(0)
    agrees = ~holes & (depths <= front * (1 + SAME_SURFACE))
    weight = certainty * agrees
    total = weight.sum(0)
    depth = (weight * depths).sum(0) / torch.where(total > 0, total, torch.ones_like(total))
    return depth, agrees
