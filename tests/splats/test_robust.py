import torch

from reconx.splats.robust import inlier_weights


def picture(seed: int = 0) -> torch.Tensor:
    return torch.rand(60, 80, 3, generator=torch.Generator().manual_seed(seed))


def test_a_picture_that_is_met_alike_everywhere_loses_nothing():
    target, weights = picture(), torch.rand(60, 80)
    noisy = target + 0.1 * (picture(1) - 0.5)
    assert torch.equal(inlier_weights(noisy, target, weights), weights)
    assert torch.equal(inlier_weights(target, target, weights), weights)


def test_a_square_that_moved_is_dropped_and_little_else():
    target = picture()
    image = target + 0.05 * (picture(1) - 0.5)
    image[20:32, 30:44] = 1 - image[20:32, 30:44]
    kept = inlier_weights(image, target, torch.ones(60, 80)) > 0
    assert not kept[21:31, 31:43].any()
    kept[19:33, 29:45] = True
    assert kept.all()


def test_pixels_of_weight_zero_have_no_say():
    target, weights = picture(), torch.ones(60, 80)
    weights[:, 40:] = 0
    image = target + 0.05 * (picture(1) - 0.5)
    spoilt = image.clone()
    spoilt[:, 40:] = 1 - spoilt[:, 40:]
    assert torch.equal(inlier_weights(spoilt, target, weights), weights)
    nothing = torch.zeros(60, 80)
    assert torch.equal(inlier_weights(image, target, nothing), nothing)


def test_no_gradient_flows_through_the_choice():
    image = picture().requires_grad_()
    assert not inlier_weights(image, picture(1), torch.ones(60, 80)).requires_grad
