import pytest
import torch

from reconx.splats.colours import ColourAdaptation, adapted_pictures


def test_who_is_adapted_and_photo_zero_never():
    assert adapted_pictures("none", 2, 2).tolist() == [False, False, False, False]
    assert adapted_pictures("generated", 2, 2).tolist() == [False, False, True, True]
    assert adapted_pictures("all", 2, 2).tolist() == [False, True, True, True]


def test_the_map_starts_at_the_identity_and_photo_zero_is_left_alone():
    colours = ColourAdaptation(torch.tensor([True, True, False]))
    image, alpha = torch.rand(4, 5, 3), torch.rand(4, 5)
    assert torch.equal(colours(image, alpha, 1), image)
    with torch.no_grad():
        colours.deltas.fill_(0.1)
    assert torch.equal(colours(image, alpha, 0), image)
    assert torch.equal(colours(image, alpha, 2), image)
    assert not torch.equal(colours(image, alpha, 1), image)


def test_gain_and_offset_act_on_what_stands_there_and_holes_stay_black():
    colours = ColourAdaptation(torch.tensor([True, True]))
    with torch.no_grad():
        colours.deltas[1, :, :3] = torch.diag(torch.tensor([0.5, 0.0, 0.0]))
        colours.deltas[1, :, 3] = torch.tensor([0.0, 0.2, 0.0])
    image = torch.tensor([[[0.4, 0.4, 0.4], [0.2, 0.2, 0.2], [0.0, 0.0, 0.0]]])
    alpha = torch.tensor([[1.0, 0.5, 0.0]])
    expected = torch.tensor([[[0.6, 0.6, 0.4], [0.3, 0.3, 0.2], [0.0, 0.0, 0.0]]])
    torch.testing.assert_close(colours(image, alpha, 1), expected)


def test_a_known_map_is_recovered_from_a_picture():
    generator = torch.Generator().manual_seed(0)
    image, alpha = torch.rand(24, 32, 3, generator=generator), torch.ones(24, 32)
    target = 0.8 * image + 0.1
    colours = ColourAdaptation(torch.tensor([False, True]))
    adam = torch.optim.Adam([colours.deltas], lr=1e-2)
    for _ in range(400):
        adam.zero_grad()
        (colours(image, alpha, 1) - target).abs().mean().backward()
        adam.step()
    found = colours.deltas[1].detach()
    assert float(found[:, :3].diagonal().mean()) == pytest.approx(-0.2, abs=0.02)
    assert float(found[:, 3].mean()) == pytest.approx(0.1, abs=0.02)
