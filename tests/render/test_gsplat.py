"""gsplat behind the rasterizer interface: what it draws, and when it is chosen.

What the CUDA kernels draw is tested in `test_rasterizers.py`, where there is a graphics card. Here
the adapter runs on the CPU, over gsplat's own projection in plain torch.
"""

import importlib
import logging
import re
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from splat_scenes import HEIGHT, WIDTH, assert_agrees, draw, make_inner_scene, make_splat_scene
from torch import Tensor

from reconx.errors import InputError
from reconx.render.rasterizers import gsplat_cuda, registry
from reconx.render.rasterizers.gsplat_cuda import draw_with, why_unusable
from reconx.render.rasterizers.registry import choose_rasterizer, make_rasterizer

CPU = torch.device("cpu")


def blend_tiles(
    means: Tensor,
    conics: Tensor,
    colors: Tensor,
    opacities: Tensor,
    width: int,
    height: int,
    tile: int,
    offsets: Tensor,
    ids: Tensor,
    backgrounds: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """gsplat's `rasterize_to_pixels` as its kernel does it, by autograd; one Gaussian at a time."""
    features = torch.cat([colors, torch.ones_like(colors[..., :1])], dim=-1).flatten(0, 1)
    flat_means, flat_conics = means.flatten(0, 1), conics.flatten(0, 1)
    bounds = [*offsets.flatten().tolist(), len(ids)]
    views, rows, columns = offsets.shape
    drawn = features.new_zeros(views, rows * tile, columns * tile, features.shape[-1])
    steps = torch.arange(tile) + 0.5
    for index, (start, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        view, row, column = index // (rows * columns), index // columns % rows, index % columns
        grid = torch.meshgrid(row * tile + steps, column * tile + steps, indexing="ij")
        pixels = torch.stack(grid[::-1], dim=-1)
        light, total = torch.ones(tile, tile, dtype=means.dtype), drawn.new_zeros(tile, tile, 1)
        for i in ids[start:end].long():
            dx, dy = (pixels - flat_means[i]).unbind(-1)
            xx, xy, yy = flat_conics[i]
            sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
            alpha = (opacities.flatten()[i] * torch.exp(-sigma)).clamp_max(0.999)
            alpha = torch.where(alpha < 1 / 255, 0, alpha)
            after = light * (1 - alpha)
            weight = torch.where(after > 1e-4, light * alpha, 0)
            total = total + weight[..., None] * features[i]
            light = torch.where(after > 1e-4, after, 0)
        place = slice(row * tile, row * tile + tile), slice(column * tile, column * tile + tile)
        drawn[view][place] = total
    pictures, alphas = drawn[:, :height, :width].split([features.shape[-1] - 1, 1], dim=-1)
    if backgrounds is not None:
        pictures = pictures + (1 - alphas) * backgrounds[:, None, None]
    return pictures, alphas


@pytest.fixture
def reference_rasterization(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`gsplat.rasterization` with its own torch functions in place of its CUDA kernels."""
    pytest.importorskip("gsplat", reason="gsplat not installed")
    rendering = importlib.import_module("gsplat.rendering")
    reference = importlib.import_module("gsplat.cuda._torch_impl")

    def project(means, covars, quats, scales, viewmats, Ks, width, height, **options) -> Any:
        covars, _ = reference._quat_scale_to_covar_preci(quats, scales, compute_preci=False)
        named = ("eps2d", "near_plane", "far_plane", "calc_compensations")
        chosen = {name: options[name] for name in named}
        return reference._fully_fused_projection(
            means, covars, viewmats, Ks, width, height, **chosen
        )

    def intersect(means, radii, depths, size, columns, rows, **_: Any) -> Any:
        return reference._isect_tiles(means, radii, depths, size, columns, rows)

    monkeypatch.setattr(rendering, "fully_fused_projection", project)
    monkeypatch.setattr(rendering, "isect_tiles", intersect)
    monkeypatch.setattr(rendering, "isect_offset_encode", reference._isect_offset_encode)
    monkeypatch.setattr(rendering, "rasterize_to_pixels", blend_tiles)
    return rendering.rasterization


@pytest.mark.parametrize("antialiased", [False, True])
def test_the_adapter_agrees_with_torch(reference_rasterization, antialiased: bool) -> None:
    scene = make_inner_scene(count=60, seed=4).to(torch.float64)
    options = {"near": 2.5, "eps2d": 0.2, "antialiased": antialiased}
    drawn = draw(partial(draw_with, reference_rasterization), scene, **options)
    expected = draw(make_rasterizer("torch"), scene, **options)
    # Tiles are gathered from Gaussians up to 3.33 standard deviations: 1/255 of an opaque one.
    assert_agrees(drawn, scene, expected, scene, values=1e-6, slopes=1e-6)


def test_it_takes_float32_on_cuda_only() -> None:
    scene = make_splat_scene(3).to(torch.float32)
    with pytest.raises(InputError, match="given torch.float32 tensors on cpu; it takes float32 on"):
        # Past the registry, which asks for the package first.
        gsplat_cuda.GsplatRasterizer()(*scene.tensors(), WIDTH, HEIGHT)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a package named gsplat, and makes believe that there is a graphics card."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "gsplat"]:
        monkeypatch.delitem(sys.modules, name)

    def write(source: str) -> None:
        (tmp_path / "gsplat.py").write_text(source, encoding="utf-8")
        importlib.invalidate_caches()

    yield write
    sys.modules.pop("gsplat", None)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Any:
    why_unusable.cache_clear()
    registry._say_once.cache_clear()
    yield
    why_unusable.cache_clear()


FAILS = """
def rasterization(*inputs, **options):
    raise RuntimeError("no nvcc")
"""
ANSWER = """
def rasterization(means, *inputs, **options):
    picture = means.sum() * means.new_ones(1, 9, 9, 4)
    return picture, means.new_full((1, 9, 9, 1), {alpha}), dict()
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise OSError('CUDA_HOME is not set\\nand more')", r"failed \(OSError: CUDA_HOME is not"),
        (FAILS, r"a trial picture failed \(RuntimeError: no nvcc\). It needs nvcc and a C\+\+"),
        (ANSWER.format(alpha=0.99), r"clamps alpha at 0.990, not at 0.999. Run: .*gsplat==1.5.3"),
    ],
)
def test_what_does_not_work_is_said(stand_in, source: str, reason: str) -> None:
    stand_in(source)
    found = why_unusable(CPU)
    assert found is not None
    assert "\n" not in found
    assert re.search(reason, found), found


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_what_works_is_chosen(stand_in, monkeypatch, mode) -> None:
    stand_in(ANSWER.format(alpha=0.999))
    with mode():  # Whoever asks first may want no gradients; fits ask later.
        assert why_unusable(CPU) is None
    # Where torch has no CUDA, no tensor can be made there: the probe's answer stands in for it.
    monkeypatch.setattr(gsplat_cuda, "_probe", lambda rasterization, device: 0.999)
    assert choose_rasterizer("auto", "cuda") == "gsplat"


def test_falling_back_is_logged_once(stand_in, caplog) -> None:
    stand_in("raise ImportError('no kernel image')")
    with caplog.at_level(logging.INFO, logger="reconx"):
        assert [choose_rasterizer("auto", "cuda") for _ in range(3)] == ["torch"] * 3
    assert len(caplog.records) == 1
    text = caplog.records[0].message
    assert text.startswith("gsplat cannot rasterize, so torch does, much slower: importing it")
    assert "no kernel image" in text


def test_an_absent_package_is_named_with_its_remedy(monkeypatch, caplog) -> None:
    spec = replace(registry.RASTERIZERS["gsplat"], requires=("no_such_package",))
    monkeypatch.setitem(registry.RASTERIZERS, "gsplat", spec)
    with caplog.at_level(logging.INFO, logger="reconx"):
        assert choose_rasterizer("auto", "cuda") == "torch"
    assert "no_such_package is absent. Run: " in caplog.text
    assert "gsplat==1.5.3" in caplog.text


@pytest.mark.parametrize("device", ["mps", "xpu"])
def test_other_devices_draw_with_torch(device: str) -> None:
    assert choose_rasterizer("auto", device) == "torch"
