import pytest
import torch

from reconx.splats.perceptual.detail import gradient_distance
from reconx.splats.perceptual.loss import make_distance, perceptual_loss


def picture(seed: int) -> torch.Tensor:
    return torch.rand(48, 64, 3, generator=torch.Generator().manual_seed(seed))


def test_equal_pictures_have_no_distance_and_blur_has_one():
    image = picture(0)
    assert float(gradient_distance(image, image)) == pytest.approx(0, abs=1e-6)
    blurred = (image + image.roll(1, 0) + image.roll(1, 1)) / 3
    assert float(gradient_distance(blurred, image)) > 0.02


def test_gradients_do_not_see_brightness():
    image = picture(0)
    assert float(gradient_distance(image + 0.2, image)) == pytest.approx(0, abs=1e-6)


def test_a_ramp_differs_by_its_step_at_every_size():
    ramp = 0.01 * torch.arange(64.0).expand(48, 64)[..., None].expand(-1, -1, 3)
    # Steps of 0.01, then 0.02 and 0.04 where two and four pixels are one.
    expected = (0.01 + 0.02 + 0.04) / 3
    assert float(gradient_distance(ramp, torch.zeros(48, 64, 3))) == pytest.approx(
        expected, rel=1e-4
    )


def test_a_picture_counts_by_its_mean_weight():
    image, target, weights = picture(0), picture(1), torch.full((48, 64), 0.25)
    whole = perceptual_loss(gradient_distance, image, target, torch.ones(48, 64))
    assert float(perceptual_loss(gradient_distance, image, target, weights)) == pytest.approx(
        0.25 * float(whole), rel=1e-5
    )


def test_pixels_of_weight_zero_have_no_influence():
    weights = torch.ones(48, 64)
    weights[10:30, 20:40] = 0
    target = picture(1)
    spoilt = torch.where(weights[..., None] > 0, target, 1 - target)
    slopes = []
    for one in (target, spoilt):
        image = picture(0).requires_grad_()
        perceptual_loss(gradient_distance, image, one, weights).backward()
        slopes.append(image.grad)
    assert torch.equal(slopes[0], slopes[1])


def test_without_weights_a_notice_says_what_stands_in(caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", logger="reconx"):
        distance = make_distance(None, "cpu")
    assert "No weights of LPIPS are given" in caplog.text
    assert distance is gradient_distance
