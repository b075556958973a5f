"""Lens distortion against COLMAP's own models, and photos freed from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reconx.ops.distortion import distort_points, undistort_image, undistort_photos
from reconx.ops.projection import camera_rays, pixel_centres
from reconx.types import CameraPrior, Cameras, LensDistortion, Scene

WIDTH, HEIGHT = 96, 72
PINHOLE = (90.0, 88.0, 47.0, 37.0)
LENSES = {
    "RADIAL": LensDistortion(radial=(-0.2, 0.05)),
    "OPENCV": LensDistortion(radial=(-0.2, 0.05), tangential=(0.01, -0.02)),
    "FULL_OPENCV": LensDistortion(
        radial=(0.3, -0.1, 0.02), tangential=(0.005, -0.003), divisor=(0.4, 0.1, -0.01)
    ),
    "OPENCV_FISHEYE": LensDistortion(radial=(0.05, -0.01, 0.003, -0.001), fisheye=True),
}
PARAMETERS = {
    "RADIAL": (PINHOLE[0], *PINHOLE[2:], -0.2, 0.05),
    "OPENCV": (*PINHOLE, -0.2, 0.05, 0.01, -0.02),
    "FULL_OPENCV": (*PINHOLE, 0.3, -0.1, 0.005, -0.003, 0.02, 0.4, 0.1, -0.01),
    "OPENCV_FISHEYE": (*PINHOLE, 0.05, -0.01, 0.003, -0.001),
}


def camera_of(model: str) -> Cameras:
    fx, fy, cx, cy = PINHOLE
    fy = fx if model == "RADIAL" else fy
    K = torch.tensor([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]])
    return Cameras(camera_to_world=torch.eye(4)[None], K=K, width=WIDTH, height=HEIGHT)


def colours(rays: torch.Tensor) -> torch.Tensor:
    """A grid of soft lines over normalised coordinates."""
    waves = 0.5 + 0.25 * torch.cos(20 * rays)
    return torch.cat([waves, waves.mean(-1, keepdim=True)], dim=-1)


@pytest.mark.parametrize("model", LENSES)
def test_pycolmap_bends_alike(model: str) -> None:
    import pycolmap

    camera = pycolmap.Camera(model=model, width=WIDTH, height=HEIGHT, params=PARAMETERS[model])
    rays = camera_rays(camera_of(model))[0]
    K = camera_of(model).K[0]
    pixels = distort_points(rays[..., :2], LENSES[model]) @ K[:2, :2].mT + K[:2, 2]
    expected = camera.img_from_cam(rays.double().flatten(0, 1).numpy())
    assert expected is not None
    np.testing.assert_allclose(pixels.flatten(0, 1).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("model", LENSES)
def test_a_bent_grid_is_straightened(model: str) -> None:
    import pycolmap

    camera = pycolmap.Camera(model=model, width=WIDTH, height=HEIGHT, params=PARAMETERS[model])
    seen = camera.cam_from_img(pixel_centres(WIDTH, HEIGHT).double().flatten(0, 1).numpy())
    photo = colours(torch.from_numpy(seen).float().reshape(HEIGHT, WIDTH, 2))
    pinhole = camera_of(model)
    truth = colours(camera_rays(pinhole)[0, ..., :2])
    image, inside = undistort_image(photo, pinhole, LENSES[model])
    assert float(inside.float().mean()) > 0.8
    assert float((image - truth)[inside].abs().max()) < 0.01
    assert float((photo - truth)[inside].abs().max()) > 0.1


def test_the_axis_stays_where_it_is() -> None:
    for lens in LENSES.values():
        assert torch.equal(distort_points(torch.zeros(2), lens), torch.zeros(2))


def test_what_a_model_folds_back_counts_as_unseen() -> None:
    """Beyond r = 1 / sqrt(3 * 0.5) this lens shows the world a second time, mirrored."""
    K = torch.tensor([[[30.0, 0, 48], [0, 30, 36], [0, 0, 1]]])
    camera = Cameras(camera_to_world=torch.eye(4)[None], K=K, width=WIDTH, height=HEIGHT)
    photo = torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))
    _, inside = undistort_image(photo, camera, LensDistortion(radial=(-0.5,)))
    radius = camera_rays(camera)[0, ..., :2].norm(dim=-1)
    assert inside[radius < 0.80].all()
    assert not inside[radius > 0.83].any()


def test_photos_without_distortion_are_left_alone(plane_scene: Scene) -> None:
    photos = replace(plane_scene.photos, prior=CameraPrior(distortion=torch.full((3, 2), 0.1)))
    straight = [LensDistortion(radial=(0.0, 0.0))] * 3
    assert undistort_photos(photos, plane_scene.photo_cameras, straight) is photos
    bent = [straight[0], LensDistortion(radial=(0.2,)), straight[0]]
    freed = undistort_photos(photos, plane_scene.photo_cameras, bent)
    assert freed.prior == CameraPrior()
    assert torch.equal(freed.images[[0, 2]], photos.images[[0, 2]])
    assert freed.valid[[0, 2]].all()
    assert not freed.valid[1, 0, 0]


def test_what_a_mask_covers_does_not_reach_beyond_it(plane_scene: Scene) -> None:
    photos, cameras = plane_scene.photos, plane_scene.photo_cameras
    valid, seen = photos.valid.clone(), []
    valid[:, 20:50, 30:60] = False
    for brightness in (0.0, 1.0):
        images = torch.where(valid[..., None], photos.images, brightness)
        masked = replace(photos, images=images, valid=valid)
        freed = undistort_photos(masked, cameras, [LensDistortion(radial=(0.1,))] * 3)
        seen.append(freed.images[freed.valid])
    torch.testing.assert_close(*seen, atol=1e-6, rtol=0)


def test_a_mask_bends_with_its_photo(plane_scene: Scene) -> None:
    photos, cameras = plane_scene.photos, plane_scene.photo_cameras
    valid = photos.valid.clone()
    valid[:, :, 80:] = False
    lens = LensDistortion(radial=(-0.9,))
    freed = undistort_photos(replace(photos, valid=valid), cameras, [lens] * 3)
    # k1 < 0 pulls the rim inwards: what the lens shows at x = 80 lies at 88.4.
    assert freed.valid[0, 36, 40:85].all()
    assert not freed.valid[0, 36, 89:].any()
