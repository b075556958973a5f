"""From cameras and depth maps to a normalised Scene: what every road to geometry ends with."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import AlignmentFailed
from ..ops.distortion import radial_lenses, undistort_photos
from ..ops.photos import fit_size, resize_photos
from ..ops.projection import unproject_depth
from ..ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points, fit_sim3_to_cameras
from ..types import Cameras, Photos, Scene, SceneSource, Sim3
from .depth_maps import DepthMaps
from .estimators.base import GeometryOptions
from .upright import estimate_up, stand_upright

SIZE_MULTIPLE = 8
"""Sides of pictures and pointmaps; stereo's pyramid halves them without a rest."""


def undistort_known(photos: Photos) -> Photos:
    """For networks, which expect pinhole photos: removes distortion where it and K are known."""
    prior = photos.prior
    if prior is None or prior.K is None or prior.distortion is None:
        return photos
    known = prior.K.isfinite().all(dim=(1, 2)) & prior.distortion.isfinite().all(dim=1)
    cameras = Cameras(
        camera_to_world=torch.eye(4).repeat(len(photos), 1, 1),
        K=torch.where(known[:, None, None], prior.K, torch.eye(3)),
        width=photos.width,
        height=photos.height,
    )
    distortion = torch.where(known[:, None], prior.distortion, 0.0)
    return undistort_photos(photos, cameras, radial_lenses(distortion))


def geometry_size(photos: Photos, options: GeometryOptions) -> tuple[int, int]:
    """(width, height) of the pointmaps: never larger than the scene's photos."""
    long_side = min(options.geometry_size, options.fit_size)
    return fit_size(photos.width, photos.height, long_side, SIZE_MULTIPLE)


def make_scene(
    photos: Photos,
    cameras: Cameras,
    maps: DepthMaps,
    source: SceneSource,
    options: GeometryOptions,
) -> Scene:
    """Bring view 0 to the identity and its median depth to 1.

    Args:
        photos: Undistorted, as loaded; the scene keeps them at the fit's size.
        cameras: One per photo, at the depth maps' size, in any world.
        maps: What is known of every pixel.
        source: Where it came from.
        options: The fit's size.

    Raises:
        AlignmentFailed: If no pixel of view 0, which the scene's scale hangs on, has a depth.
    """
    known = maps.depth[0].isfinite()
    if not known.any():
        raise AlignmentFailed(
            f"No depth was found in photo 1 ({photos.names[0]}): no other photo shows enough of "
            "it. Add a photo taken one step to the side, or leave this one out."
        )
    rotation = cameras.camera_to_world[0, :3, :3].mT
    scale = 1 / float(maps.depth[0][known].median())
    to_scene = Sim3(
        rotation=rotation, translation=-scale * (rotation @ cameras.centers[0]), scale=scale
    )
    points = apply_sim3_to_points(to_scene, unproject_depth(maps.depth, cameras))
    cameras = apply_sim3_to_cameras(to_scene, cameras)
    given = _given_world(photos, cameras)
    width, height = fit_size(photos.width, photos.height, options.fit_size, SIZE_MULTIPLE)
    scene = Scene(
        photos=resize_photos(photos, width, height),
        photo_cameras=cameras.resized(width, height),
        cameras=cameras,
        points=points,
        confidence=maps.confidence,
        valid=maps.depth.isfinite(),
        up=estimate_up(cameras),
        world_from_scene=to_scene.inverse() if given is None else given,
        source=source,
    )
    # Nobody has said where the world is, so it may as well stand upright in a viewer.
    return stand_upright(scene, "cameras") if given is None else scene


def replace_points(
    scene: Scene, points: Float[Tensor, "view h w 3"], confidence: Float[Tensor, "view h w"]
) -> Scene:
    """The scene with other pointmaps, scaled anew; its place in the user's world stays.

    Args:
        scene: Photos and cameras stay as they are.
        points: In the scene's frame; NaN where nothing stands. Some of view 0 do.
        confidence: Of the points.
    """
    valid = points.isfinite().all(-1)
    scale = 1 / float(points[0, ..., 2][valid[0]].median())
    rescale = Sim3(rotation=torch.eye(3), translation=torch.zeros(3), scale=scale)
    return replace(
        scene,
        points=apply_sim3_to_points(rescale, points),
        confidence=torch.where(valid, confidence, 1.0),
        valid=valid,
        cameras=apply_sim3_to_cameras(rescale, scene.cameras),
        photo_cameras=apply_sim3_to_cameras(rescale, scene.photo_cameras),
        world_from_scene=scene.world_from_scene.compose(rescale.inverse()),
    )


def _given_world(photos: Photos, cameras: Cameras) -> Sim3 | None:
    """The way to the user's poses, where at least two were given."""
    if photos.prior is not None and photos.prior.camera_to_world is not None:
        given = photos.prior.camera_to_world
        index = given.isfinite().all(dim=(1, 2)).nonzero()[:, 0]
        if len(index) >= 2:
            return fit_sim3_to_cameras(
                cameras[index], replace(cameras[index], camera_to_world=given[index])
            )
    return None
