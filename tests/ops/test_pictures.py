import pytest
import torch

from reconx.errors import InputError
from reconx.ops.image import close_gaps, resize_images
from reconx.ops.metrics import psnr, ssim, ssim_map
from reconx.ops.photos import fit_size, resize_photos, select_photos
from reconx.ops.projection import (
    pixel_centres,
    project_points,
    sample_image,
    unproject_depth,
)
from reconx.types import CameraPrior, Cameras, Photos


@pytest.fixture
def camera() -> Cameras:
    K = torch.tensor([[[50.0, 0, 31], [0, 52, 23], [0, 0, 1]]])
    return Cameras(camera_to_world=torch.eye(4)[None], K=K, width=64, height=48)


def test_unprojected_pixels_project_back(camera: Cameras) -> None:
    depth = 1 + torch.rand(1, 48, 64, generator=torch.Generator().manual_seed(0))
    points = unproject_depth(depth, camera)
    pixels, z = project_points(points[0], camera.viewmats[0], camera.K[0])
    torch.testing.assert_close(pixels, pixel_centres(64, 48), atol=1e-4, rtol=0)
    torch.testing.assert_close(z, depth[0])


def test_depth_of_zero_becomes_nan(camera: Cameras) -> None:
    depth = torch.ones(1, 48, 64)
    depth[0, 3, 4] = 0
    points = unproject_depth(depth, camera)
    assert points[0, 3, 4].isnan().all()
    assert points.isnan().sum() == 3


def test_depth_of_another_size_is_refused(camera: Cameras) -> None:
    with pytest.raises(InputError, match="1, 48, 64"):
        unproject_depth(torch.ones(1, 48, 63), camera)


def test_sampling_at_centres_returns_the_pixels() -> None:
    image = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(0))
    sampled = sample_image(image, pixel_centres(7, 5))
    torch.testing.assert_close(sampled, image, atol=1e-5, rtol=0)


def test_resized_camera_sees_the_same_directions(camera: Cameras) -> None:
    small = camera.resized(32, 24)
    point = torch.tensor([[0.3, -0.2, 2.0]])
    (large_pixel, _), (small_pixel, _) = (
        project_points(point, c.viewmats[0], c.K[0]) for c in (camera, small)
    )
    torch.testing.assert_close(small_pixel, large_pixel / 2)


def test_closing_fills_cracks_and_keeps_large_gaps() -> None:
    mask = torch.ones(1, 20, 20, dtype=torch.bool)
    mask[0, :, 5] = False
    mask[0, 8:16, 10:18] = False
    closed = close_gaps(mask, 1)
    assert closed[0, :, 5].all()
    assert not closed[0, 9:15, 11:17].any()


def test_psnr_of_a_known_error() -> None:
    image = torch.zeros(4, 4, 3)
    assert psnr(image, image + 0.1) == pytest.approx(20, abs=1e-4)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 0] = True
    worse = image.clone()
    worse[1] = 1
    assert psnr(image + 0.1, worse * ~mask[..., None], mask) == pytest.approx(20, abs=1e-4)


def test_ssim_is_one_for_equals_and_falls_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 32, 32, 3, generator=generator)
    assert ssim(image, image) == pytest.approx(1)
    noisy = image + 0.2 * torch.randn(image.shape, generator=generator)
    assert 0.2 < ssim(image, noisy) < 0.95
    assert ssim_map(image, noisy).shape == (1, 32, 32)


def test_fit_size_never_enlarges() -> None:
    assert fit_size(1024, 683, 512) == (512, 342)
    assert fit_size(300, 200, 512) == (300, 200)
    assert fit_size(1000, 750, 510, 8) == (512, 384)


def test_resizing_photos_keeps_intrinsics_and_origin_true() -> None:
    photos = Photos(
        images=torch.rand(2, 40, 60, 3, generator=torch.Generator().manual_seed(0)),
        valid=torch.ones(2, 40, 60, dtype=torch.bool),
        names=("a.jpg", "b.jpg"),
        prior=CameraPrior(K=torch.tensor([[50.0, 0, 30], [0, 50, 20], [0, 0, 1]]).expand(2, 3, 3)),
        original_sizes=((120, 80), (120, 80)),
        to_original=torch.diag(torch.tensor([2.0, 2.0, 1.0])).expand(2, 3, 3),
    )
    small = resize_photos(photos, 30, 20)
    assert small.prior is not None
    assert small.prior.K is not None
    torch.testing.assert_close(small.prior.K[0, 0, 2], torch.tensor(15.0))
    corner = torch.tensor([30.0, 20.0, 1.0])
    torch.testing.assert_close(small.to_original[0] @ corner, torch.tensor([120.0, 80.0, 1.0]))
    torch.testing.assert_close(small.images.mean(), photos.images.mean(), atol=1e-2, rtol=0)
    assert select_photos(small, [1]).names == ("b.jpg",)


def test_shrinking_averages() -> None:
    checker = torch.zeros(1, 8, 8, 1)
    checker[0, ::2, ::2] = 1
    checker[0, 1::2, 1::2] = 1
    small = resize_images(checker, 2, 2)
    torch.testing.assert_close(small, torch.full((1, 2, 2, 1), 0.5), atol=0.05, rtol=0)
