import math

import pytest
import torch

from reconx.errors import InputError
from reconx.export.colour_maps import GLOW
from reconx.export.comparison import BRIGHTEST, GAP, compare_pictures


def test_a_known_difference_gives_known_figures_and_colours():
    second = torch.rand(3, 20, 30, 3, generator=torch.Generator().manual_seed(0)) * 0.5
    first = second.clone()
    first[1] += BRIGHTEST
    compared = compare_pictures(first, second)
    assert compared.psnr == pytest.approx(-10 * math.log10(BRIGHTEST**2 / 3), abs=1e-3)
    assert 0 < compared.ssim < 1
    assert compared.pictures.shape == (3, 20, 3 * 30 + 2 * GAP, 3)
    torch.testing.assert_close(compared.pictures[:, :, :30], first)
    torch.testing.assert_close(compared.pictures[:, :, 30 + GAP : 60 + GAP], second)
    difference = compared.pictures[:, :, 60 + 2 * GAP :]
    torch.testing.assert_close(difference[0], (GLOW[0] / 255).expand(20, 30, 3))
    torch.testing.assert_close(difference[1], (GLOW[-1] / 255).expand(20, 30, 3))


def test_equal_pictures_are_perfectly_alike():
    pictures = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(1))
    compared = compare_pictures(pictures, pictures)
    assert compared.psnr == pytest.approx(120)
    assert compared.ssim == pytest.approx(1, abs=1e-6)


def test_pictures_that_do_not_pair_are_refused():
    text = "The first pictures are 2 of 30 x 20, the second 3 of 30 x 20"
    with pytest.raises(InputError, match=text):
        compare_pictures(torch.zeros(2, 20, 30, 3), torch.zeros(3, 20, 30, 3))
    with pytest.raises(InputError, match="Number of pictures is 0"):
        compare_pictures(torch.zeros(0, 20, 30, 3), torch.zeros(0, 20, 30, 3))
