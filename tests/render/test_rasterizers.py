"""All rasterizers against a naive reference, and what the protocol promises of each."""

import importlib.util
import logging
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch
from splat_scenes import (
    HEIGHT,
    WIDTH,
    assert_agrees,
    draw,
    gradients,
    make_inner_scene,
    make_splat_scene,
)
from torch import Tensor

from reconx.errors import InputError
from reconx.ops.quaternion import matrix_to_quaternion, quaternion_multiply
from reconx.ops.se3 import se3_exp
from reconx.render.rasterizers import registry
from reconx.render.rasterizers.base import Rasterized, Rasterizer
from reconx.render.rasterizers.compose import check_scene
from reconx.render.rasterizers.gsplat_cuda import why_unusable
from reconx.render.rasterizers.registry import RASTERIZERS, make_rasterizer


def rasterize_naively(
    means,
    quats,
    scales,
    opacities,
    colors,
    viewmats,
    Ks,
    width,
    height,
    *,
    near=0.01,
    eps2d=0.3,
    antialiased=False,
    background=None,
) -> Rasterized:
    """Every Gaussian against every pixel: no tiles, plain autograd."""
    views = []
    for viewmat, K, colour in zip(viewmats, Ks, colors, strict=True):
        local = means @ viewmat[:3, :3].T + viewmat[:3, 3]
        order = torch.argsort(local[:, 2], stable=True)
        order = order[local[order, 2] >= near]
        x, y, z = local[order].unbind(-1)
        fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
        low_x, high_x = -(cx + 0.15 * width) / fx, (1.15 * width - cx) / fx
        low_y, high_y = -(cy + 0.15 * height) / fy, (1.15 * height - cy) / fy
        u = (x / z).clamp(low_x.detach(), high_x.detach())
        v = (y / z).clamp(low_y.detach(), high_y.detach())
        zero = torch.zeros_like(z)
        jacobian = torch.stack([fx / z, zero, -fx * u / z, zero, fy / z, -fy * v / z], -1)
        jacobian = jacobian.view(-1, 2, 3) @ viewmat[:3, :3]
        w, i, j, k = (quats[order] / quats[order].norm(dim=-1, keepdim=True)).unbind(-1)
        one = torch.ones_like(w)
        spin = torch.stack([one * 0, -k, j, k, one * 0, -i, -j, i, one * 0], -1).view(-1, 3, 3)
        rotation = torch.eye(3).to(means) + 2 * w[:, None, None] * spin + 2 * spin @ spin
        covariance = rotation @ torch.diag_embed(scales[order] ** 2) @ rotation.mT
        flat = jacobian @ covariance @ jacobian.mT
        blurred = flat + eps2d * torch.eye(2).to(means)
        opacity = opacities[order]
        if antialiased:
            opacity = opacity * torch.sqrt(torch.linalg.det(flat) / torch.linalg.det(blurred))
        grid_y, grid_x = torch.meshgrid(
            torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij"
        )
        pixels = torch.stack([grid_x, grid_y], -1).to(means)
        offsets = pixels[:, :, None] - torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
        inverse = torch.linalg.inv(blurred)
        sigma = 0.5 * torch.einsum("hwni,nij,hwnj->hwn", offsets, inverse, offsets)
        alpha = (opacity * torch.exp(-sigma)).clamp_max(0.999)
        alpha = torch.where(alpha < 1 / 255, 0, alpha)
        after = torch.cumprod(1 - alpha, dim=-1)
        before = torch.cat([torch.ones_like(after[..., :1]), after[..., :-1]], dim=-1)
        weight = alpha * before * (after > 1e-4)
        total = weight.sum(-1)
        shown = weight @ colour[order]
        if background is not None:
            shown = shown + (1 - total)[..., None] * background
        depth = torch.where(total > 0, (weight @ z) / total.clamp_min(1e-9), 0)
        views.append((shown, total, depth))
    return Rasterized(*(torch.stack(parts) for parts in zip(*views, strict=True)))


ON_CUDA = [pytest.param(f"{name} on CUDA", marks=pytest.mark.gpu) for name in ("torch", "gsplat")]


@pytest.fixture(params=["numba", "torch", *ON_CUDA])
def rasterizer(request: pytest.FixtureRequest) -> Rasterizer:
    """Takes tensors on the CPU, wherever it draws."""
    name, _, place = request.param.partition(" on ")
    missing = RASTERIZERS[name].missing()
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    if not place:
        return make_rasterizer(name)
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    reason = why_unusable(torch.device("cuda")) if name == "gsplat" else None
    if reason:
        pytest.skip(f"gsplat does not work here: {reason}")
    return on_cuda(make_rasterizer(name, "cuda"))


def on_cuda(draw: Rasterizer) -> Rasterizer:
    def move(value: object) -> object:
        return value.cuda() if isinstance(value, Tensor) else value

    def draw_there(*inputs, **options) -> Rasterized:
        moved = {name: move(option) for name, option in options.items()}
        return Rasterized(*(part.cpu() for part in draw(*map(move, inputs), **moved)))

    return draw_there  # pyright: ignore[reportReturnType]


def test_every_registered_rasterizer_is_tested() -> None:
    assert set(RASTERIZERS) == {"numba", "torch", "gsplat"}


def tolerances(request: pytest.FixtureRequest) -> dict[str, float]:
    """gsplat's kernels use the card's fast exponential function."""
    close = {"values": 1e-5, "slopes": 1e-4}
    return {"values": 1e-3, "slopes": 1e-3} if "gsplat" in request.node.name else close


@pytest.mark.parametrize("antialiased", [False, True])
def test_float32_agrees_with_the_naive_reference(rasterizer, antialiased: bool, request) -> None:
    scene, truth = (make_splat_scene().to(dtype) for dtype in (torch.float32, torch.float64))
    drawn = draw(rasterizer, scene, antialiased=antialiased)
    reference = draw(rasterize_naively, truth, antialiased=antialiased)
    # gsplat's gradients of intrinsics are approximate where the Jacobian is clamped.
    apart = "Ks" if "gsplat" in request.node.name else None
    assert_agrees(drawn, scene, reference, truth, **tolerances(request), apart=apart)


def test_intrinsics_have_gradients_where_no_jacobian_is_clamped(rasterizer, request) -> None:
    scene, truth = (make_inner_scene().to(dtype) for dtype in (torch.float32, torch.float64))
    drawn, reference = draw(rasterizer, scene), draw(rasterize_naively, truth)
    assert_agrees(drawn, scene, reference, truth, **tolerances(request))


@pytest.mark.parametrize("antialiased", [False, True])
def test_torch_in_float64_is_exact(antialiased: bool) -> None:
    scene = make_splat_scene(seed=1).to(torch.float64)
    drawn = draw(make_rasterizer("torch"), scene, antialiased=antialiased)
    reference = draw(rasterize_naively, scene, antialiased=antialiased)
    assert_agrees(drawn, scene, reference, scene, values=1e-10, slopes=1e-10)


def test_dense_scene_agrees_where_pixels_end_early(rasterizer) -> None:
    """More Gaussians in a tile than the torch backend blends at once, and most hidden."""
    scene = make_splat_scene(count=1500, seed=3)
    scene = replace(scene, scales=3 * scene.scales)
    truth, scene = scene.to(torch.float64), scene.to(torch.float32)
    with torch.no_grad():
        drawn, reference = draw(rasterizer, scene), draw(rasterize_naively, truth)
    assert reference.alpha.median() > 0.9995
    for picture, expected in zip(drawn, reference, strict=True):
        error = (picture.double() - expected).abs().flatten()
        assert error.quantile(0.99) < 1e-4


def test_gradcheck_of_torch() -> None:
    scene = make_splat_scene(count=3, seed=2)
    centred = scene.Ks[:1].clone()
    centred[:, :2, :2] /= 6
    centred[:, 0, 2], centred[:, 1, 2] = 3.0, 2.5
    # Towards the middle: where the Jacobian is clamped, its gradient is zero by definition.
    scene = replace(
        scene,
        means=scene.means * torch.tensor([0.3, 0.3, 1.0]),
        opacities=0.3 + 0.5 * scene.opacities,
        colors=scene.colors[:1],
        viewmats=scene.viewmats[:1],
        Ks=centred,
    ).to(torch.float64)

    def pictures(*tensors: Tensor) -> tuple[Tensor, ...]:
        *rest, background = tensors
        return make_rasterizer("torch")(*rest, 6, 5, antialiased=True, background=background)

    # The thresholds at 1/255 make steps; a small eps seldom crosses one.
    inputs = (*scene.tensors(), scene.background)
    assert torch.autograd.gradcheck(pictures, inputs, eps=1e-7, atol=1e-5, fast_mode=True)


def test_a_rigid_motion_of_the_world_changes_nothing(rasterizer) -> None:
    scene = make_splat_scene().to(torch.float32)
    motion = se3_exp(torch.tensor([0.4, -0.9, 0.3, 0.5, -1.0, 0.2]))
    turn = matrix_to_quaternion(motion[:3, :3])
    moved = replace(
        scene,
        means=scene.means @ motion[:3, :3].mT + motion[:3, 3],
        quats=quaternion_multiply(turn.expand(len(scene.quats), 4), scene.quats),
        viewmats=scene.viewmats @ torch.linalg.inv(motion),
    )
    for before, after in zip(draw(rasterizer, scene), draw(rasterizer, moved), strict=True):
        assert (before - after).abs().flatten().quantile(0.999) < 1e-4


def test_one_gaussian_has_its_closed_form(rasterizer) -> None:
    sigma, focal, z, opacity = 0.1, 40.0, 2.0, 0.8
    drawn = rasterizer(
        torch.tensor([[0.0, 0.0, z]]),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.full((1, 3), sigma),
        torch.tensor([opacity]),
        torch.tensor([[[1.0, 0.5, 0.0]]]),
        torch.eye(4)[None],
        torch.tensor([[[focal, 0, 10.5], [0, focal, 7.5], [0, 0, 1]]]),
        21,
        15,
        background=torch.tensor([0.0, 0.0, 1.0]),
    )
    variance = (focal * sigma / z) ** 2 + 0.3
    expected = opacity * torch.exp(torch.tensor(-0.5 * 9 / variance))
    assert drawn.alpha[0, 7, 10] == pytest.approx(opacity, abs=1e-6)
    assert drawn.alpha[0, 7, 13] == pytest.approx(expected.item(), abs=1e-6)
    assert drawn.depth[0, 7, 13] == pytest.approx(z, abs=1e-5)
    torch.testing.assert_close(
        drawn.colour[0, 7, 10], torch.tensor([opacity, 0.5 * opacity, 1 - opacity])
    )


@pytest.mark.parametrize("case", ["none", "behind", "transparent"])
def test_nothing_to_draw_shows_the_background(rasterizer, case: str) -> None:
    scene = make_splat_scene(count=0 if case == "none" else 5)
    if case == "behind":
        scene = replace(scene, means=scene.means - torch.tensor([0, 0, 50]))
    elif case == "transparent":
        scene = replace(scene, opacities=torch.full((5,), 0.003))
    scene = scene.to(torch.float32)
    drawn = draw(rasterizer, scene)
    assert drawn.alpha.count_nonzero() == drawn.depth.count_nonzero() == 0
    assert drawn.colour.shape == (len(scene.viewmats), HEIGHT, WIDTH, 3)
    assert torch.equal(drawn.colour, scene.background.expand_as(drawn.colour))
    assert all(gradient.isfinite().all() for gradient in gradients(drawn, scene))


def test_the_same_input_gives_the_same_bytes(rasterizer, request) -> None:
    if "CUDA" in request.node.name:
        pytest.skip("on CUDA gradients are added up atomically, in any order")
    scene = make_splat_scene(count=1200).to(torch.float32)
    first, second = (draw(rasterizer, scene) for _ in range(2))
    assert all(map(torch.equal, first, second))
    assert all(map(torch.equal, gradients(first, scene), gradients(second, scene)))


def test_threads_may_draw_at_once(rasterizer) -> None:
    scene = make_splat_scene().to(torch.float32)
    expected = draw(rasterizer, scene)
    drawn: list[Rasterized] = []
    threads = [
        threading.Thread(target=lambda: drawn.append(draw(rasterizer, scene))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 4
    assert all(torch.equal(expected.colour, one.colour) for one in drawn)


def test_layout_of_the_inputs_does_not_matter(rasterizer) -> None:
    scene = make_splat_scene().to(torch.float32)
    strided = replace(scene, means=scene.means.mT.contiguous().mT, colors=scene.colors[:1])
    strided = replace(strided, colors=strided.colors.expand(2, -1, -1))
    contiguous = replace(scene, colors=strided.colors.contiguous())
    assert torch.equal(draw(rasterizer, strided).colour, draw(rasterizer, contiguous).colour)


def test_wrong_inputs_name_what_is_wrong(rasterizer) -> None:
    scene = make_splat_scene().to(torch.float32)
    # Called past the rasterizer, whose annotations the tests' type checks would trip over first.
    tensors = replace(scene, colors=scene.colors[:1]).tensors()
    with pytest.raises(InputError, match=r"colors has shape \(1, 150, 3\); expected \(2"):
        check_scene(*tensors, WIDTH, HEIGHT, 0.3, scene.background)
    with pytest.raises(InputError, match=r"Ks is torch.float64 on .+, but means is torch.float32"):
        draw(rasterizer, replace(scene, Ks=scene.Ks.double()))


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba not installed")
def test_numba_takes_float32_only() -> None:
    with pytest.raises(InputError, match="takes float32 on the CPU"):
        draw(make_rasterizer("numba"), make_splat_scene())


def test_auto_falls_back_to_torch_and_says_so(monkeypatch, caplog) -> None:
    registry._say_once.cache_clear()
    monkeypatch.setitem(
        RASTERIZERS, "numba", replace(RASTERIZERS["numba"], requires=("no_such_package",))
    )
    with caplog.at_level(logging.INFO, logger="reconx"):
        rasterizer = make_rasterizer()
    assert type(rasterizer).__name__ == "TorchTileRasterizer"
    assert "numba cannot rasterize" in caplog.text
    assert "no_such_package is absent" in caplog.text


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="Rasterizer 'gs' is unknown. Choose one of: torch, numba"):
        make_rasterizer("gs")


def test_choosing_imports_numba_only_when_used() -> None:
    program = (
        "import sys, reconx.render.gaussians as rendering; rendering.make_rasterizer('torch'); "
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
