import logging
import sys

import pytest
import torch

from reconx.ops.image import luminance
from reconx.ops.metrics import ssim_map
from reconx.splats.losses import depth_loss, photometric, photometric_loss, prepare_loss


def random_picture(seed: int) -> torch.Tensor:
    return torch.rand(24, 20, 3, generator=torch.Generator().manual_seed(seed))


def test_equal_pictures_cost_nothing():
    image = random_picture(0)
    assert float(photometric_loss(image, image, torch.ones(24, 20))) == pytest.approx(0, abs=1e-6)


def test_a_constant_difference_costs_four_fifths_of_it_plus_the_luminance_term():
    image, target = torch.full((40, 40, 3), 0.5), torch.full((40, 40, 3), 0.6)
    # Far from the zero-padded border, SSIM of two flat pictures is its luminance factor.
    similarity = (2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4)
    flat = torch.ones(40, 40)
    expected = 0.8 * 0.1 + 0.2 * (1 - similarity)
    inner = photometric_loss(image, target, flat) - photometric_loss(image, target, _border(flat))
    assert float(inner) == pytest.approx(expected * 20 * 20 / 1600, rel=1e-3)


def _border(weights: torch.Tensor) -> torch.Tensor:
    border = weights.clone()
    border[10:30, 10:30] = 1e-9
    return border


def test_weights_multiply_pixel_by_pixel():
    image, target = random_picture(1), random_picture(2)
    weights = torch.rand(24, 20, generator=torch.Generator().manual_seed(3)) + 0.1
    whole = photometric_loss(image, target, weights)
    assert float(photometric_loss(image, target, 0.5 * weights)) == pytest.approx(float(whole) / 2)


def test_pixels_of_weight_zero_have_no_influence_on_value_or_gradient():
    target = random_picture(4)
    weights = torch.ones(24, 20)
    weights[5:14, 3:12] = 0
    corrupted = torch.where(weights[..., None] > 0, target, 1 - target)
    gradients = []
    for picture in (target, corrupted):
        image = random_picture(5).requires_grad_()
        photometric_loss(image, picture, weights).backward()
        gradients.append(image.grad)
    assert torch.equal(gradients[0], gradients[1])


def test_a_frame_of_holes_contributes_nothing():
    image = random_picture(6).requires_grad_()
    loss = photometric_loss(image, random_picture(7), torch.zeros(24, 20))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not image.grad.any()


def test_photometric_gradient():
    generator = torch.Generator().manual_seed(8)
    image, target, along = torch.rand(3, 9, 8, 3, dtype=torch.float64, generator=generator)
    weights = torch.rand(9, 8, dtype=torch.float64, generator=generator) + 0.1
    image.requires_grad_()
    photometric_loss(image, target, weights).backward()
    with torch.no_grad():
        step = 1e-6 * along
        there = photometric_loss(image + step, target, weights)
        back = photometric_loss(image - step, target, weights)
    torch.testing.assert_close((image.grad * along).sum(), (there - back) / 2e-6, rtol=1e-6, atol=0)


def by_autograd(image: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The loss as its docstring defines it."""
    target = torch.where(weights[..., None] > 0, target, image.detach())
    absolute = (image - target).abs().mean(dim=-1)
    grey, target_grey = luminance(image)[None, ..., None], luminance(target)[None, ..., None]
    return (weights * (0.8 * absolute + 0.2 * (1 - ssim_map(grey, target_grey)[0]))).mean()


@pytest.mark.parametrize("numba", [True, False])
def test_value_and_gradient_are_those_of_autograd(numba: bool, monkeypatch: pytest.MonkeyPatch):
    if not numba:
        monkeypatch.setattr(photometric, "_has_numba", lambda: False)
    generator = torch.Generator().manual_seed(9)
    image, target = torch.rand(2, 37, 52, 3, generator=generator)
    target[:12] = image[:12]
    weights = torch.rand(37, 52, generator=generator)
    weights[20:30, 5:40] = 0
    found = []
    for compare in (photometric_loss, by_autograd):
        picture = image.clone().requires_grad_()
        value = compare(picture, target, weights)
        (3 * value).backward()
        found.append((value.detach(), picture.grad))
    (value, gradient), (expected_value, expected_gradient) = found
    torch.testing.assert_close(value, expected_value, rtol=1e-6, atol=0)
    scale = float(expected_gradient.abs().max())
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5 * scale)


def test_depth_loss_is_relative_and_ignores_what_was_not_measured():
    depth = torch.tensor([[1.1, 5.0], [1.8, 0.3]])
    measured = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    assert float(depth_loss(depth, measured)) == pytest.approx((0.1 + 0.1) / 2, rel=1e-5)


def test_without_numba_torch_compares_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(photometric, "_has_numba", lambda: False)
    monkeypatch.setitem(sys.modules, "reconx.splats.losses.numba_photometric", None)
    with caplog.at_level(logging.INFO, "reconx"):
        prepare_loss()
    assert "numba is absent" in caplog.text
