import torch

from reconx.render.gaussians import render_gaussians
from reconx.splats.fit.parameters import GaussianParameters
from reconx.splats.relocation import MOST_COPIES, choose_sources, offset_noise, share_among
from reconx.types import Cameras, Gaussians


def test_one_copy_is_the_original():
    opacity, scales = torch.tensor([0.3, 0.9]), torch.rand(2, 3) + 0.1
    shared = share_among(opacity, scales, torch.tensor([1, 1]))
    torch.testing.assert_close(shared[0], opacity)
    torch.testing.assert_close(shared[1], scales)


def test_two_copies_have_the_opacity_and_scale_of_the_paper():
    each, scales = share_among(torch.tensor([0.75]), torch.ones(1, 3), torch.tensor([2]))
    torch.testing.assert_close(each, torch.tensor([0.5]))
    # eq. 9 for N = 2: o (2 o' - o'^2 / sqrt 2)^-1
    expected = 0.75 / (2 * 0.5 - 0.25 / 2**0.5)
    torch.testing.assert_close(scales, torch.full((1, 3), expected))


def test_many_opaque_copies_stay_finite_and_smaller():
    opacity = torch.tensor([0.01, 0.5, 0.999])
    each, scales = share_among(opacity, torch.ones(3, 3), torch.full((3,), MOST_COPIES))
    torch.testing.assert_close(1 - (1 - each) ** MOST_COPIES, opacity, atol=1e-4, rtol=0)
    assert ((scales > 0.3) & (scales < 1.01)).all()


def some_gaussians() -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(40, 3, generator=generator) - 0.5
    means[:, 2] += 3
    opacities = torch.linspace(0.2, 0.9, 40)
    opacities[20:] = 1e-3  # dead
    return Gaussians(
        means=means,
        quats=torch.nn.functional.normalize(torch.rand(40, 4, generator=generator), dim=-1),
        scales=0.05 + 0.1 * torch.rand(40, 3, generator=generator),
        opacities=opacities,
        sh=torch.rand(40, 1, 3, generator=generator),
    )


def test_relocation_keeps_the_picture_and_leaves_no_dead():
    parameters = GaussianParameters(some_gaussians(), "cpu")
    K = torch.tensor([[[80.0, 0, 32], [0, 80, 24], [0, 0, 1]]])
    camera = Cameras(camera_to_world=torch.eye(4)[None], K=K, width=64, height=48)

    def picture() -> torch.Tensor:
        with torch.no_grad():
            return render_gaussians(parameters.gaussians(), camera).colour

    before = picture()
    opacities = parameters.logits.detach().sigmoid()
    dead, sources = choose_sources(opacities, torch.Generator().manual_seed(1))
    assert dead.tolist() == list(range(20, 40))
    assert (sources < 20).all()
    moved = parameters.relocate(dead, sources)
    assert set(moved.tolist()) == {*dead.tolist(), *sources.tolist()}
    difference = (picture() - before).abs()
    # Without the correction of opacity and scale the mean difference is 0.04.
    assert float(difference.mean()) < 0.01
    assert bool((parameters.logits.detach().sigmoid() > 0.005).all())


def test_where_none_is_dead_or_none_lives_nothing_moves():
    generator = torch.Generator().manual_seed(0)
    for opacity in (0.5, 0.001):
        dead, sources = choose_sources(torch.full((5,), opacity), generator)
        assert len(dead) == len(sources) == 0


def test_no_place_takes_more_than_the_most_copies():
    opacities = torch.full((500,), 1e-3)
    opacities[0] = 0.9
    dead, sources = choose_sources(opacities, torch.Generator().manual_seed(0))
    assert len(dead) == MOST_COPIES - 1
    assert not sources.any()


def test_noise_moves_only_what_is_nearly_transparent():
    opacities = torch.tensor([0.001, 0.005, 0.2])
    noise = offset_noise(opacities.repeat_interleave(2000), 0.1, torch.Generator().manual_seed(0))
    spread = noise.view(3, -1).std(dim=1)
    expected = torch.tensor([0.1 * 0.5987, 0.05, 0.0])
    torch.testing.assert_close(spread, expected, atol=3e-3, rtol=0)
