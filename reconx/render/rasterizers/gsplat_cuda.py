"""Rasterizer for CUDA: gsplat's kernels behind this project's interface.

Owns what differs between the two interfaces, and the question whether gsplat works here. gsplat
(Ye et al. 2024, arXiv 2409.06765; Apache-2.0) comes as source and is compiled on first use. Its
version is pinned: 1.6 clamps alpha at 0.99, where ours and 1.5 clamp at 0.999.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError, MissingDependency
from ...parts import install_command
from .base import Rasterized
from .compose import ALPHA_MAX, check_scene
from .registry import RASTERIZERS
from .torch_tiles import TorchTileRasterizer


class GsplatRasterizer:
    """The `Rasterizer` protocol for float32 tensors on CUDA.

    Gradients of the same input differ in their last bits from run to run: gsplat adds them up
    atomically.
    """

    def __call__(
        self,
        means: Float[Tensor, "n 3"],
        quats: Float[Tensor, "n 4"],
        scales: Float[Tensor, "n 3"],
        opacities: Float[Tensor, " n"],
        colors: Float[Tensor, "view n 3"],
        viewmats: Float[Tensor, "view 4 4"],
        Ks: Float[Tensor, "view 3 3"],
        width: int,
        height: int,
        *,
        near: float = 0.01,
        eps2d: float = 0.3,
        antialiased: bool = False,
        background: Float[Tensor, "3"] | None = None,
    ) -> Rasterized:
        """Rasterize; see `Rasterizer`.

        Raises:
            InputError: If the tensors do not fit together or are not float32 on CUDA.
            MissingDependency: If gsplat does not work here.
        """
        check_scene(
            means,
            quats,
            scales,
            opacities,
            colors,
            viewmats,
            Ks,
            width,
            height,
            eps2d,
            background,
        )
        if means.dtype != torch.float32 or means.device.type != "cuda":
            raise InputError(
                f"The gsplat rasterizer was given {means.dtype} tensors on {means.device}; it "
                "takes float32 on CUDA. Convert them, or choose the torch rasterizer."
            )
        reason = why_unusable(means.device)
        if reason:
            raise MissingDependency(f"The gsplat rasterizer cannot be used: {reason}")
        inputs = (means, quats, scales, opacities, colors, viewmats, Ks, width, height)
        options = {"near": near, "eps2d": eps2d, "antialiased": antialiased}
        if len(means) == 0 or len(viewmats) == 0:  # gsplat's kernels want at least one of each.
            return TorchTileRasterizer()(*inputs, background=background, **options)
        return draw_with(load_rasterization(), *inputs, background=background, **options)


def draw_with(
    rasterization: Callable[..., Any],
    means: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    scales: Float[Tensor, "n 3"],
    opacities: Float[Tensor, " n"],
    colors: Float[Tensor, "view n 3"],
    viewmats: Float[Tensor, "view 4 4"],
    Ks: Float[Tensor, "view 3 3"],
    width: int,
    height: int,
    *,
    near: float,
    eps2d: float,
    antialiased: bool,
    background: Float[Tensor, "3"] | None,
) -> Rasterized:
    """Call `gsplat.rasterization` so that it answers as a `Rasterizer`, on any device.

    gsplat gives no gradients of intrinsics, but those of the whole 3 x 4 camera matrix. So where
    they are asked for, the camera is turned by inv(K) K, which is the identity, with gradients of
    the second K alone; for Gaussians far outside the picture, where the Jacobian is clamped, they
    are approximate.
    """
    K = Ks.detach()
    cameras = _turned_by_nothing(viewmats, Ks) if Ks.requires_grad else viewmats
    pictures, alphas, _ = rasterization(
        means,
        quats,
        scales,
        opacities,
        colors,
        cameras,
        K,
        width,
        height,
        near_plane=near,
        eps2d=eps2d,
        packed=False,
        backgrounds=None if background is None else background.expand(len(viewmats), 3),
        render_mode="RGB+ED",
        rasterize_mode="antialiased" if antialiased else "classic",
    )
    colour, depth = pictures.split([3, 1], dim=-1)
    return Rasterized(colour=colour, alpha=alphas[..., 0], depth=depth[..., 0])


def _turned_by_nothing(
    viewmats: Float[Tensor, "view 4 4"], Ks: Float[Tensor, "view 3 3"]
) -> Float[Tensor, "view 4 4"]:
    """The cameras, with gradients of their intrinsics."""
    K = Ks.detach()
    # Focal lengths and centre alone are intrinsics; the rest is not asked.
    used = torch.tensor([[1, 0, 1], [0, 1, 1], [0, 0, 0]], dtype=Ks.dtype, device=Ks.device)
    identity = torch.eye(3, dtype=Ks.dtype, device=Ks.device)
    identity = identity + torch.linalg.inv(K) @ (used * (Ks - K))
    # Not a matrix product: where the host allows TF32, that rounds even what it multiplies by 1.
    turned = (identity[..., None] * viewmats[:, None, :3]).sum(dim=2)
    return torch.cat([turned, viewmats[:, 3:]], dim=1)


def load_rasterization() -> Callable[..., Any]:
    """Gsplat's main function."""
    return importlib.import_module("gsplat").rasterization


@functools.cache
def why_unusable(device: torch.device) -> str | None:
    """Why gsplat does not work on a device, with the remedy; None where it does.

    Draws one picture, for which gsplat may have to compile itself for minutes: an installed package
    says nothing about a compiler, and a compiled one nothing about the graphics card.
    """
    remedy = f"Run: {install_command(RASTERIZERS['gsplat'].install)}"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device."
    try:
        rasterization = load_rasterization()
    except Exception as error:  # Versions fail with whatever their build step fails with.
        return f"importing it failed ({_first_line(error)}). {remedy}"
    try:
        alpha = _probe(rasterization, device)
    except Exception as error:
        return f"a trial picture failed ({_first_line(error)}). It needs nvcc and a C++ compiler."
    if abs(alpha - ALPHA_MAX) > 1e-4:
        return f"it clamps alpha at {alpha:.3f}, not at {ALPHA_MAX}. {remedy}"
    return None


@torch.inference_mode(False)
@torch.enable_grad()
def _probe(rasterization: Callable[..., Any], device: torch.device) -> float:
    """Alpha of an opaque Gaussian at its centre.

    Drawn with gradients, even where the caller wants none: what is found holds for all callers.
    """
    one = functools.partial(torch.ones, device=device)
    means = torch.tensor([[0.0, 0.0, 1.0]], device=device, requires_grad=True)
    K = torch.tensor([[[8.0, 0, 4.5], [0, 8.0, 4.5], [0, 0, 1]]], device=device)
    drawn = draw_with(
        rasterization,
        means,
        torch.tensor([[1.0, 0.0, 0.0, 0.0]], device=device),
        one(1, 3),
        one(1),
        one(1, 1, 3),
        torch.eye(4, device=device)[None],
        K,
        9,
        9,
        near=0.01,
        eps2d=0.3,
        antialiased=False,
        background=None,
    )
    torch.autograd.grad(drawn.depth.sum(), means)
    return float(drawn.alpha.detach()[0, 4, 4])


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
