"""Dense stereo on rooms with exact depth, and on real photos where they are at hand."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from reconx.geometry.depth_maps import DepthMaps
from reconx.geometry.stereo.dense import StereoInput, estimate_depth
from reconx.geometry.stereo.matcher import MATCHERS
from reconx.ops.projection import camera_rays, project_points
from reconx.ops.se3 import so3_exp
from reconx.progress import SilentProgress
from reconx.types import CONFIDENT, Cameras

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Lower and upper corner."""

WIDTH, HEIGHT, FOCAL = 128, 96, 110.0
BOX = ((-0.7, 0.0, 2.3), (0.2, 1.0, 2.9))
POLE = ((0.8, -1.2, 2.2), (0.86, 1.0, 2.26))
"""From floor to ceiling, three pixels wide and another that shows its side."""


@pytest.fixture(scope="module")
def room() -> tuple[StereoInput, Tensor]:
    """Three views, 8 degrees apart, of the inside of a box with a smaller box in it."""
    return _look_at([BOX])


@pytest.fixture(scope="module")
def measured(room) -> DepthMaps:
    return _estimate(room[0])


def test_depth_is_exact_to_a_percent(room, measured):
    known = measured.confidence >= CONFIDENT
    error = (measured.depth / room[1] - 1).abs()
    assert known.float().mean() > 0.7
    assert error[known].median() < 0.005
    assert (error[known] > 0.05).float().mean() < 0.04


def test_higher_confidence_means_fewer_errors(room, measured):
    error = (measured.depth / room[1] - 1).abs()
    low = (measured.confidence >= CONFIDENT) & (measured.confidence < 6)
    high = measured.confidence >= 8
    assert (error[high] > 0.02).float().mean() < 0.5 * (error[low] > 0.02).float().mean()


def test_what_is_not_measured_has_no_depth_and_no_confidence(measured):
    known = measured.confidence >= CONFIDENT
    assert torch.equal(known, measured.depth.isfinite())
    assert (measured.confidence[~known] == 1).all()
    assert (measured.confidence <= 10).all()


def test_two_views_are_enough(room):
    stereo, depth = room
    pair = _estimate(_first_two(stereo))
    known = pair.confidence >= CONFIDENT
    assert known.float().mean() > 0.5
    assert (pair.depth / depth[:2] - 1).abs()[known].median() < 0.01


def test_same_seed_same_bytes(room):
    pair = _first_two(room[0])
    first, second = _estimate(pair), _estimate(pair)
    assert torch.equal(first.confidence, second.confidence)
    torch.testing.assert_close(first.depth, second.depth, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("matcher", sorted(MATCHERS))
@pytest.mark.parametrize("seed", [-1, 2**64 - 1])
def test_any_whole_number_is_a_seed(room, matcher, seed):
    if MATCHERS[matcher].missing():
        pytest.skip(f"{MATCHERS[matcher].missing()} not installed")
    pair = _first_two(room[0])
    maps = estimate_depth(
        pair, device="cpu", seed=seed, progress=SilentProgress(), effort="fast", matcher=matcher
    )
    assert (maps.confidence >= CONFIDENT).float().mean() > 0.4


def test_depth_scales_with_the_world(room):
    stereo = _first_two(room[0])
    poses = stereo.cameras.camera_to_world.clone()
    poses[:, :3, 3] *= 4
    shrink = torch.tensor([1.0, 1.0, 0.25])
    larger = _estimate(
        replace(
            stereo,
            cameras=replace(stereo.cameras, camera_to_world=poses),
            anchors=tuple(anchors * shrink for anchors in stereo.anchors),
        )
    )
    same = _estimate(stereo)
    # A factor of four is exact in binary, so that not even rounding differs.
    assert torch.equal(larger.confidence, same.confidence)
    known = same.confidence >= CONFIDENT
    torch.testing.assert_close(larger.depth[known], 4 * same.depth[known])


def test_invalid_pixels_are_no_evidence(room):
    stereo = _first_two(room[0])
    valid = stereo.valid.clone()
    valid[0, :, :40] = False
    masked = _estimate(replace(stereo, valid=valid))
    assert masked.depth[0, :, :40].isnan().all()
    # What lies under the mask does not matter at all.
    images = torch.where(valid[..., None], stereo.images, 0.9 - 0.5 * stereo.images)
    other = _estimate(replace(stereo, valid=valid, images=images))
    assert torch.equal(masked.confidence, other.confidence)
    assert (masked.confidence[0, :, 48:] >= CONFIDENT).float().mean() > 0.5


def test_a_pole_of_a_few_pixels_stands_before_the_wall():
    _, without = _look_at([BOX])
    stereo, depth = _look_at([BOX, POLE])
    pole = depth < without
    assert 3 < pole.float().sum(-1).mean() < 5
    measured = _estimate(stereo)
    error = (measured.depth / depth - 1).abs()[pole]
    assert (error < 0.03).float().mean() > 0.45
    assert (error > 0.1).float().mean() < 0.05, "taken for the wall"


def test_a_view_without_sources_stays_unmeasured(room):
    stereo = replace(room[0], sources=((1,), (0,), ()))
    maps = _estimate(stereo)
    assert maps.depth[2].isnan().all()
    assert (maps.confidence[0] >= CONFIDENT).any()


def _estimate(stereo: StereoInput) -> DepthMaps:
    return estimate_depth(stereo, device="cpu", seed=0, progress=SilentProgress())


def _first_two(stereo: StereoInput) -> StereoInput:
    return StereoInput(
        images=stereo.images[:2],
        valid=stereo.valid[:2],
        cameras=stereo.cameras[:2],
        sources=((1,), (0,)),
        anchors=stereo.anchors[:2],
    )


def _cameras() -> Cameras:
    poses = torch.eye(4).repeat(3, 1, 1)
    for view in range(3):
        angle = math.radians(8) * (view - 1)
        poses[view, :3, :3] = so3_exp(torch.tensor([0.0, -angle, 0.0]))
        poses[view, :3, 3] = torch.tensor([3 * math.sin(angle), -0.1 * (view % 2), 0.0])
    K = torch.tensor([[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]])
    return Cameras(camera_to_world=poses, K=K.repeat(3, 1, 1), width=WIDTH, height=HEIGHT)


def _look_at(boxes: Sequence[Box]) -> tuple[StereoInput, Float[Tensor, "view h w"]]:
    cameras = _cameras()
    depth, points = _first_hits(cameras, boxes)
    stereo = StereoInput(
        images=_texture(points),
        valid=torch.ones(depth.shape, dtype=torch.bool),
        cameras=cameras,
        sources=((1, 2), (0, 2), (1, 0)),
        anchors=_anchors(cameras, points),
    )
    return stereo, depth


def _first_hits(
    cameras: Cameras, boxes: Sequence[Box]
) -> tuple[Float[Tensor, "view h w"], Float[Tensor, "view h w 3"]]:
    rays = torch.einsum("vij,vhwj->vhwi", cameras.camera_to_world[:, :3, :3], camera_rays(cameras))
    start = cameras.centers[:, None, None].expand_as(rays)
    low, high = torch.tensor([-2.0, -1.2, -2.0]), torch.tensor([2.0, 1.0, 4.0])
    depth = torch.stack([(low - start) / rays, (high - start) / rays]).amax(0).amin(-1)
    for box in boxes:
        low, high = torch.tensor(box)
        slabs = torch.stack([(low - start) / rays, (high - start) / rays])
        enter, leave = slabs.amin(0).amax(-1), slabs.amax(0).amin(-1)
        depth = torch.where((enter < leave) & (enter > 0) & (enter < depth), enter, depth)
    return depth, start + depth[..., None] * rays


def _texture(points: Float[Tensor, "view h w 3"]) -> Float[Tensor, "view h w 3"]:
    """A solid of waves 4 to 60 pixels long, seen with a little noise."""
    generator = torch.Generator().manual_seed(0)
    lengths = 3 / FOCAL * 4 * torch.exp(torch.rand(32, generator=generator) * math.log(15))
    directions = functional.normalize(torch.randn(32, 3, generator=generator), dim=-1)
    phases = 6.28 * torch.rand(32, generator=generator)
    colours = 0.05 * torch.randn(32, 3, generator=generator)
    waves = torch.sin(points @ (directions * 2 * math.pi / lengths[:, None]).mT + phases)
    noise = 0.01 * torch.randn(points.shape, generator=generator)
    return (0.5 + waves @ colours + noise).clamp(0, 1)


def _anchors(
    cameras: Cameras, points: Float[Tensor, "view h w 3"]
) -> tuple[Float[Tensor, "point 3"], ...]:
    """Every 97th pixel of each view, as a feature point would give it."""
    anchors = []
    for view in range(len(cameras)):
        some = points[view].reshape(-1, 3)[::97]
        pixels, depth = project_points(some, cameras.viewmats[view], cameras.K[view])
        anchors.append(torch.cat([pixels, 1 / depth[:, None]], dim=-1))
    return tuple(anchors)
