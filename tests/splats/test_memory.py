from dataclasses import replace

import pytest

from reconx.errors import InputError
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.splats.fit.memory import drawing_bytes, estimate_megabytes, keep_memory
from reconx.types import Scene

OPTIONS = FitOptions(steps=1, max_gaussians=6000)


def test_fewer_gaussians_keep_the_limit_and_it_is_said(
    plane_scene: Scene, caplog: pytest.LogCaptureFixture
):
    needed = estimate_megabytes(plane_scene, None, OPTIONS)
    limit = round(needed - 1.2)
    with caplog.at_level("INFO", logger="reconx"):
        result = fit_gaussians(plane_scene, options=replace(OPTIONS, max_memory_mb=limit))
    expected = 6000 - (needed - limit) * 1e6 / 600  # bytes each
    assert f"{int(expected)} Gaussians instead of 6000, to stay within {limit} MB" in caplog.text
    assert len(result.surfaces) <= expected


def test_a_limit_that_is_met_changes_nothing(plane_scene: Scene, caplog: pytest.LogCaptureFixture):
    options = replace(OPTIONS, max_memory_mb=10_000)
    with caplog.at_level("INFO", logger="reconx"):
        assert keep_memory(plane_scene, None, options) is options
    assert not caplog.text


def test_harmonics_cost_gaussians(plane_scene: Scene):
    options = replace(OPTIONS, max_memory_mb=6)
    plain = keep_memory(plane_scene, None, options).max_gaussians
    shiny = keep_memory(plane_scene, None, replace(options, sh_degree=3)).max_gaussians
    assert shiny < 0.4 * plain


def test_torch_on_a_gpu_takes_its_share_of_the_limit(plane_scene: Scene):
    assert drawing_bytes("gsplat", "cuda") == drawing_bytes("torch", "cpu") == 0
    drawing = drawing_bytes("torch", "cuda")
    limit = round(estimate_megabytes(plane_scene, None, OPTIONS, drawing)) - 1
    kept = keep_memory(plane_scene, None, replace(OPTIONS, max_memory_mb=limit), drawing)
    assert kept.max_gaussians < OPTIONS.max_gaussians
    with pytest.raises(InputError, match="expected at least 964 .* Install gsplat, give more"):
        keep_memory(plane_scene, None, replace(OPTIONS, max_memory_mb=500), drawing)


def test_a_limit_below_the_pictures_is_refused(plane_scene: Scene):
    with pytest.raises(InputError, match="max_memory_mb is 2; expected at least 4 for these"):
        keep_memory(plane_scene, None, replace(OPTIONS, max_memory_mb=2))
