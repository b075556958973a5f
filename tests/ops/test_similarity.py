import pytest
import torch

from reconx.errors import InputError
from reconx.ops.se3 import se3_exp, so3_exp
from reconx.ops.sh import colour_to_sh, map_sh, rotate_sh, sh_to_colours
from reconx.ops.sim3 import (
    apply_sim3_to_cameras,
    apply_sim3_to_gaussians,
    apply_sim3_to_points,
    fit_sim3,
    fit_sim3_to_cameras,
)
from reconx.types import Cameras, Gaussians, Sim3


@pytest.fixture
def similarity() -> Sim3:
    return Sim3(
        rotation=so3_exp(torch.tensor([0.4, -1.1, 0.7])),
        translation=torch.tensor([3.0, -2.0, 0.5]),
        scale=2.5,
    )


def make_cameras(count: int) -> Cameras:
    poses = se3_exp(torch.randn(count, 6, generator=torch.Generator().manual_seed(1)))
    K = torch.tensor([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]]).expand(count, 3, 3)
    return Cameras(camera_to_world=poses, K=K, width=128, height=96)


def test_fit_finds_the_similarity_of_points(similarity: Sim3) -> None:
    points = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    found = fit_sim3(points, apply_sim3_to_points(similarity, points))
    torch.testing.assert_close(found.rotation, similarity.rotation)
    torch.testing.assert_close(found.translation, similarity.translation)
    assert found.scale == pytest.approx(similarity.scale, rel=1e-5)


def test_fit_ignores_points_of_weight_zero(similarity: Sim3) -> None:
    points = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    target = apply_sim3_to_points(similarity, points)
    target[0] += 100
    weights = torch.ones(30)
    weights[0] = 0
    assert fit_sim3(points, target, weights).scale == pytest.approx(similarity.scale, rel=1e-5)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_fit_finds_the_similarity_of_cameras(similarity: Sim3, count: int) -> None:
    cameras = make_cameras(count)
    found = fit_sim3_to_cameras(cameras, apply_sim3_to_cameras(similarity, cameras))
    torch.testing.assert_close(found.rotation, similarity.rotation, atol=1e-5, rtol=0)
    assert found.scale == pytest.approx(similarity.scale, rel=1e-5)


def test_cameras_at_one_place_have_no_scale() -> None:
    camera = make_cameras(1)
    twice = Cameras.concatenate([camera, camera])
    with pytest.raises(InputError, match="no scale"):
        fit_sim3_to_cameras(twice, twice)


def test_inverse_and_compose_undo(similarity: Sim3) -> None:
    both = similarity.inverse().compose(similarity)
    torch.testing.assert_close(both.rotation, torch.eye(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(both.translation, torch.zeros(3), atol=1e-6, rtol=0)
    assert both.scale == pytest.approx(1)


@pytest.mark.parametrize("coefficients", [1, 4, 9, 16])
def test_colours_turn_with_the_world(similarity: Sim3, coefficients: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sh = 0.1 * torch.randn(8, coefficients, 3, generator=generator)
    means = torch.randn(8, 3, generator=generator)
    centre = torch.tensor([[0.3, 0.1, -2.0]])
    turned = sh_to_colours(
        rotate_sh(sh, similarity.rotation),
        apply_sim3_to_points(similarity, means),
        apply_sim3_to_points(similarity, centre),
    )
    torch.testing.assert_close(turned, sh_to_colours(sh, means, centre), atol=1e-5, rtol=0)


def test_constant_coefficient_is_the_colour() -> None:
    colour = torch.tensor([[0.2, 0.5, 0.9]])
    shown = sh_to_colours(colour_to_sh(colour)[:, None], torch.zeros(1, 3), torch.ones(2, 3))
    torch.testing.assert_close(shown, colour.expand(2, 1, 3))


def test_gaussians_keep_their_shape_in_proportion(similarity: Sim3) -> None:
    gaussians = Gaussians(
        means=torch.zeros(1, 3),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.tensor([[0.1, 0.2, 0.3]]),
        opacities=torch.ones(1),
        sh=torch.zeros(1, 1, 3),
    )
    moved = apply_sim3_to_gaussians(similarity, gaussians)
    torch.testing.assert_close(moved.scales, gaussians.scales * similarity.scale)
    torch.testing.assert_close(moved.means[0], similarity.translation)


def test_a_colour_map_acts_on_what_each_camera_sees() -> None:
    generator = torch.Generator().manual_seed(0)
    sh = 0.05 * torch.randn(5, 9, 3, generator=generator)
    means, centers = torch.rand(5, 3, generator=generator), torch.tensor([[0.0, 0.0, -3.0]])
    colour_map = torch.tensor([[0.8, 0.1, 0.0, 0.02], [0.0, 0.9, 0.05, 0.0], [0.1, 0.0, 0.7, 0.1]])
    before = sh_to_colours(sh, means, centers)
    after = sh_to_colours(map_sh(sh, colour_map), means, centers)
    torch.testing.assert_close(after, before @ colour_map[:, :3].mT + colour_map[:, 3])
