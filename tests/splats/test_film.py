from dataclasses import replace

import pytest
import torch

from reconx.ops.se3 import so3_exp
from reconx.ops.sim3 import apply_sim3_to_gaussians
from reconx.render.gaussians import render_gaussians
from reconx.splats.film import film_gaussians
from reconx.splats.placing import place_gaussians
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Scene, Sim3


@pytest.mark.parametrize("scale", [1.0, 250.0, 1e-4])
def test_the_film_is_the_same_in_any_world(plane_scene: Scene, scale: float):
    """In a world of tiny units all Gaussians are nearer than what a camera draws at all."""
    world = Sim3(
        rotation=so3_exp(torch.tensor([0.4, -1.1, 0.7])),
        translation=torch.tensor([3.0, -2.0, 5.0]) * scale,
        scale=scale,
    )
    scene = replace(plane_scene, world_from_scene=world)
    path = make_path(scene, PathOptions(frames=4))
    gaussians = place_gaussians(scene, max_gaussians=2000, sh_degree=2)
    generator = torch.Generator().manual_seed(0)
    gaussians = replace(
        gaussians, sh=gaussians.sh + 0.1 * torch.randn(gaussians.sh.shape, generator=generator)
    )
    background = torch.tensor([0.1, 0.9, 0.4])
    film = film_gaussians([apply_sim3_to_gaussians(world, gaussians)], path, background=background)
    direct = render_gaussians(gaussians, path.cameras, background=background)
    assert direct.alpha.mean() > 0.5
    torch.testing.assert_close(film.alpha, direct.alpha, atol=0.01, rtol=0)
    torch.testing.assert_close(film.depth, direct.depth, atol=0.01, rtol=0)
    # Gaussians at one depth may change places, which only their colours tell.
    close = (film.colour - direct.colour.clamp(0, 1)).abs().amax(dim=-1) < 1e-3
    assert close.float().mean() > 0.8


def test_the_background_shows_where_nothing_covers(plane_scene: Scene):
    gaussians = place_gaussians(plane_scene, max_gaussians=2000)
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=1, orbit_radius=3.0))
    red = torch.tensor([1.0, 0.0, 0.0])
    film = film_gaussians([gaussians], path, background=red)
    empty = film.alpha == 0
    assert empty.any()
    assert (film.colour[empty] == red).all()


def test_a_batch_is_filmed_one_splat_after_another(plane_scene: Scene):
    path = make_path(plane_scene, PathOptions(frames=3, width=48))
    splats = [place_gaussians(plane_scene, max_gaussians=count) for count in (900, 2000)]
    both = film_gaussians(splats, path)
    for half, gaussians in zip(both.colour.split(3), splats, strict=True):
        assert torch.equal(half, film_gaussians([gaussians], path).colour)
