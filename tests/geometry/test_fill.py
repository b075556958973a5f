"""Filling: from the background, not across edges, never in front of what another view measured."""

import torch

from reconx.geometry.depth_maps import DepthMaps, hides_measured
from reconx.geometry.fill import fill_depth
from reconx.types import CONFIDENT, FILLED, Cameras

WIDTH, HEIGHT, FOCAL = 64, 48, 60.0


def _cameras(count: int, baseline: float = 0.0) -> Cameras:
    poses = torch.eye(4).repeat(count, 1, 1)
    poses[:, 0, 3] = baseline * torch.arange(count)
    K = torch.tensor([[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]])
    return Cameras(camera_to_world=poses, K=K.repeat(count, 1, 1), width=WIDTH, height=HEIGHT)


def _maps(depth: torch.Tensor) -> DepthMaps:
    confidence = torch.where(depth.isfinite(), 8.0, 1.0)
    return DepthMaps(depth=depth, confidence=confidence)


def _fill(depth: torch.Tensor, cameras: Cameras, images: torch.Tensor | None = None) -> DepthMaps:
    images = torch.full((*depth.shape, 3), 0.4) if images is None else images
    return fill_depth(_maps(depth), images, torch.ones(depth.shape, dtype=torch.bool), cameras)


def test_gap_in_a_slanted_plane_is_closed_by_the_plane():
    # Inverse depth of a plane is affine in the pixel, and so harmonic: a membrane restores it.
    x = torch.arange(WIDTH) / WIDTH
    plane = (1 / (0.3 + 0.05 * x)).expand(1, HEIGHT, WIDTH).clone()
    depth = plane.clone()
    depth[:, 15:35, 20:45] = torch.nan
    filled = _fill(depth, _cameras(1))
    assert ((filled.depth / plane - 1).abs() < 0.01).all()
    assert torch.equal(filled.depth[depth.isfinite()], depth[depth.isfinite()])


def test_gap_beside_an_object_belongs_to_the_background():
    depth = torch.full((1, HEIGHT, WIDTH), 4.0)
    depth[:, :, 20:36] = 2.0
    depth[:, :, 36:40] = torch.nan
    filled = _fill(depth, _cameras(1)).depth
    torch.testing.assert_close(filled[:, :, 36:40], torch.full((1, HEIGHT, 4), 4.0))


def test_colour_edges_hold_a_fill_back():
    # Two surfaces of different colour; their common border lies inside the gap.
    depth = torch.full((1, HEIGHT, WIDTH), 3.0)
    depth[:, :, 32:] = 2.6
    depth[:, :, 22:44] = torch.nan
    images = torch.full((1, HEIGHT, WIDTH, 3), 0.1)
    images[:, :, 32:] = 0.5
    filled = _fill(depth, _cameras(1), images).depth
    torch.testing.assert_close(filled[:, :, :32], torch.full((1, HEIGHT, 32), 3.0))
    torch.testing.assert_close(filled[:, :, 32:], torch.full((1, HEIGHT, 32), 2.6))


def test_confidence_of_a_fill_fades_and_stays_below_measured():
    depth = torch.full((1, HEIGHT, WIDTH), 3.0)
    depth[:, :, 20:] = torch.nan
    confidence = _fill(depth, _cameras(1)).confidence[0, 20]
    assert (confidence[20:] <= FILLED).all()
    assert (confidence[20:] >= 1).all()
    assert (confidence[20:].diff() <= 0).all()
    assert (confidence[:20] >= CONFIDENT).all()


def test_no_fill_hides_what_another_view_measured():
    # View 0 measured only a near wall; view 1 looks past it on a far one.
    cameras = _cameras(2, baseline=0.3)
    depth = torch.full((2, HEIGHT, WIDTH), torch.nan)
    depth[0, :, :20] = 2.0
    depth[1, :, 10:] = 6.0
    filled = _fill(depth, cameras)
    guessed = filled.depth.clone()
    guessed[filled.confidence >= CONFIDENT] = torch.nan
    assert filled.depth[0].isnan().any()
    for view in range(2):
        assert not hides_measured(guessed[view], view, _maps(depth), cameras).any()
    assert (filled.confidence[filled.depth.isnan()] == 1).all()


def test_sky_stands_on_the_far_shell():
    depth = torch.full((1, HEIGHT, WIDTH), 3.0)
    depth[:, 30:] = 5.0
    depth[:, :16] = torch.nan
    images = torch.full((1, HEIGHT, WIDTH, 3), 0.4)
    images[:, :16] = torch.tensor([0.5, 0.7, 0.95])
    filled = _fill(depth, _cameras(1), images).depth
    assert (filled[:, :14] == 5).all()


def test_invalid_pixels_and_blind_views_stay_empty():
    depth = torch.full((2, HEIGHT, WIDTH), torch.nan)
    depth[0, :, :40] = 3.0
    valid = torch.ones(depth.shape, dtype=torch.bool)
    valid[:, :, 50:] = False
    images = torch.full((*depth.shape, 3), 0.4)
    filled = fill_depth(_maps(depth), images, valid, _cameras(2))
    assert filled.depth[0, :, 40:50].isfinite().all()
    assert filled.depth[0, :, 50:].isnan().all()
    assert filled.depth[1].isnan().all()
