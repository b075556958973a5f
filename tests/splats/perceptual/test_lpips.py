import pytest
import torch
from torch import nn

from reconx.splats.perceptual.lpips import Lpips, make_alexnet, make_vgg16


def picture(seed: int, height: int = 48, width: int = 64) -> torch.Tensor:
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))


def tiny() -> Lpips:
    """One stage that passes red and green on, without a rectifier."""
    convolution = nn.Conv2d(3, 2, 1, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[..., None, None])
    network = Lpips([nn.Sequential(convolution)])
    with torch.no_grad():
        network.heads[0].copy_(torch.tensor([2.0, 3.0]).view(1, 2, 1, 1))
    return network


def test_a_known_answer_on_tiny_weights():
    # Normalised, red and green are (3, 4) and (4, 3) tenths: units (.6, .8) and (.8, .6).
    shift, scale = torch.tensor([-0.030, -0.088]), torch.tensor([0.458, 0.448])
    image, target = torch.zeros(5, 6, 3), torch.zeros(5, 6, 3)
    for place, value in ((image, [0.3, 0.4]), (target, [0.4, 0.3])):
        place[..., :2] = (torch.tensor(value) * scale + shift + 1) / 2
    expected = (2 + 3) * 0.2**2
    assert float(tiny()(image, target).detach()) == pytest.approx(expected, rel=1e-4)


def test_equal_pictures_have_no_distance_and_others_the_same_both_ways():
    network, one, other = make_alexnet(), picture(0), picture(1)
    with torch.no_grad():
        assert float(network(one, one)) == 0
        there, back = float(network(one, other)), float(network(other, one))
    assert there == pytest.approx(back, rel=1e-4)
    assert there > 0


def test_the_gradient_is_finite_where_rectifiers_leave_nothing():
    network = make_alexnet().requires_grad_(False)
    for convolution in network.convolutions():
        convolution.weight.zero_()
        assert convolution.bias is not None
        convolution.bias.fill_(-1.0)
    image = picture(0).requires_grad_()
    network(image, picture(1)).backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_the_trunks_are_the_published_ones():
    alex = [tuple(it.weight.shape) for it in make_alexnet().convolutions()]
    assert alex[:2] == [(64, 3, 11, 11), (192, 64, 5, 5)]
    assert (
        sum(p.numel() for it in make_alexnet().convolutions() for p in it.parameters()) == 2469696
    )
    with torch.device("meta"):
        vgg = make_vgg16()
    assert sum(p.numel() for it in vgg.convolutions() for p in it.parameters()) == 14714688
    assert [head.shape[1] for head in vgg.heads] == [64, 128, 256, 512, 512]
