"""The contract of every matcher of `MATCHERS`, on a slanted wall with a box before it."""

import logging
from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from reconx.geometry.stereo.matcher import (
    MATCHERS,
    DepthRange,
    Matcher,
    Phase,
    StereoView,
    choose_matcher,
    make_matcher,
)
from reconx.ops.image import luminance
from reconx.types import Scene

LIMITS = DepthRange(low=0.5, high=2.5)
PHASE = Phase(level=0, rounds=4, sigmas=(2.0, 0.5), sweep=8)


@pytest.fixture(params=sorted(MATCHERS))
def name(request) -> str:
    missing = MATCHERS[request.param].missing()
    if missing:
        pytest.skip(f"{missing} not installed")
    return request.param


@pytest.fixture(scope="module")
def views(plane_scene: Scene) -> list[StereoView]:
    """The three views; a corner of the first is invalid."""
    valid = torch.ones(plane_scene.valid.shape, dtype=torch.bool)
    valid[0, :10, :12] = False
    images = plane_scene.photos.images
    return [
        StereoView(
            camera=plane_scene.cameras[view],
            grey=torch.where(valid[view], luminance(images[view]), torch.nan),
            image=images[view],
        )
        for view in range(3)
    ]


@pytest.fixture(scope="module")
def truth(plane_scene: Scene) -> list[Float[Tensor, "h w"]]:
    """True inverse depth of each view."""
    cameras = plane_scene.cameras
    depths = [
        (plane_scene.points[view] @ cameras.viewmats[view, 2, :3]) + cameras.viewmats[view, 2, 3]
        for view in range(3)
    ]
    return [1 / depth for depth in depths]


def test_costs_and_evidence_are_those_of_torch(name, views, truth):
    if name == "torch":
        pytest.skip("torch is what the others are compared with")
    matcher, torch_matcher = _matcher(name, views), _matcher("torch", views)
    planes, others = _some_planes(truth[0]), truth[1:]
    for sources in (None, others):
        miss = (matcher.cost(planes, sources) - torch_matcher.cost(planes, sources)).abs()
        # A rounding may decide which of a source's pixels is the nearest.
        assert miss.quantile(0.99) < 2e-3
    found, expected = (m.inspect(planes, others) for m in (matcher, torch_matcher))
    for field in ("correlation", "margin", "miss", "difference"):
        mine, other = getattr(found, field), getattr(expected, field)
        assert torch.equal(mine.isnan(), other.isnan()), field
        assert (mine - other)[other.isfinite()].abs().quantile(0.98) < 2e-3, field


def test_the_truth_costs_little_and_returns_to_itself(name, views, truth):
    matcher, planes = _matcher(name, views), _true_planes(truth[0])
    good = matcher.cost(planes, truth[1:])[12:-6, 14:-6]
    assert good.median() < 0.1
    wrong = planes.clone()
    wrong[0] *= 1.1
    assert matcher.cost(wrong, truth[1:])[12:-6, 14:-6].median() > good.median() + 0.1
    evidence = matcher.inspect(planes, truth[1:])
    assert evidence.miss.nanmedian() < 0.3
    assert evidence.difference.nanmedian() < 0.01
    assert evidence.margin.nanmedian() > 0.02


def test_planes_improve_and_find_the_surface(name, views, truth):
    matcher = _matcher(name, views)
    start = torch.zeros(3, *truth[0].shape)
    start[0] = 1.5
    found = matcher.improve(start, None, PHASE, seed=3)
    assert (matcher.cost(found) <= matcher.cost(start) + 1e-5).all()
    assert ((found[0] >= LIMITS.low) & (found[0] <= LIMITS.high)).all()
    right = [
        ((planes[0] / truth[0] - 1).abs() < 0.03)[12:-6, 14:-6].float().mean()
        for planes in (start, found)
    ]
    assert right[0] < 0.1
    assert right[1] > 0.7


def test_same_seed_same_planes_and_another_seed_others(name, views, truth):
    matcher, start = _matcher(name, views), _some_planes(truth[0])
    first, again, other = (matcher.improve(start, truth[1:], PHASE, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nothing_given_is_changed(name, views, truth):
    matcher, start = _matcher(name, views), _some_planes(truth[0])
    kept = start.clone()
    matcher.cost(start)
    matcher.improve(start, truth[1:], PHASE, seed=0)
    matcher.inspect(start, truth[1:])
    assert torch.equal(start, kept)


def test_an_invalid_pixel_correlates_with_nothing(name, views, truth):
    evidence = _matcher(name, views).inspect(_true_planes(truth[0]), truth[1:])
    assert evidence.correlation[:, :10, :12].isnan().all()
    # Nor does a window that reaches into invalid pixels of the source.
    blind = replace(views[1], grey=torch.full_like(views[1].grey, torch.nan))
    matcher = make_matcher(name, views[0], [blind], LIMITS)
    assert matcher.inspect(_true_planes(truth[0]), truth[1:2]).correlation.isnan().all()
    assert (matcher.cost(_true_planes(truth[0])) == 1).all()


@pytest.mark.skipif(bool(MATCHERS["numba"].missing()), reason="numba not installed")
def test_the_number_of_threads_changes_nothing(views, truth):
    import numba

    if numba.config.NUMBA_NUM_THREADS < 2:  # pyright: ignore[reportAttributeAccessIssue]
        pytest.skip("numba may use one thread only")
    start, before = _some_planes(truth[0]), numba.get_num_threads()
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        found.append(_matcher("numba", views).improve(start, truth[1:], PHASE, seed=0))
    numba.set_num_threads(before)
    assert torch.equal(*found)


def test_without_numba_torch_matches_and_says_so(monkeypatch, caplog):
    absent = replace(MATCHERS["numba"], requires=("no_such_package",))
    monkeypatch.setitem(MATCHERS, "numba", absent)
    with caplog.at_level(logging.INFO, logger="reconx"):
        assert choose_matcher("cpu") == "torch"
    assert "numba is absent" in caplog.text
    assert choose_matcher("cuda") == "torch"


def _matcher(name: str, views: list[StereoView]) -> Matcher:
    return make_matcher(name, views[0], views[1:], LIMITS)


def _true_planes(inverse_depth: Float[Tensor, "h w"]) -> Float[Tensor, "3 h w"]:
    """The slopes are differences, and so wrong beside the box."""
    slope_y, slope_x = torch.gradient(inverse_depth)
    return torch.stack([inverse_depth, slope_x, slope_y])


def _some_planes(inverse_depth: Float[Tensor, "h w"]) -> Float[Tensor, "3 h w"]:
    """Somewhat wrong: up to a few pixels of parallax."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, *inverse_depth.shape, generator=generator)
    return _true_planes(inverse_depth) + noise * torch.tensor([0.04, 2e-3, 2e-3])[:, None, None]
