"""Small scenes of Gaussians for the rasterizers' tests, and how two drawings are compared."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reconx.render.rasterizers.base import Rasterized

WIDTH, HEIGHT = 50, 37


@dataclass(frozen=True, slots=True, kw_only=True)
class SplatScene:
    """A rasterizer's tensors, in its order, and a background."""

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    viewmats: Tensor
    Ks: Tensor
    background: Tensor

    def tensors(self) -> list[Tensor]:
        """All but the background."""
        return [getattr(self, name) for name in self.__slots__[:-1]]

    def to(self, dtype: torch.dtype) -> "SplatScene":
        """Leaves of another dtype, which ask for gradients."""
        leaves = {
            name: getattr(self, name).detach().to(dtype).clone().requires_grad_()
            for name in self.__slots__
        }
        return replace(self, **leaves)


def make_splat_scene(count: int = 150, seed: int = 0) -> SplatScene:
    """Gaussians of a few pixels, some outside and some behind two cameras, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    focal = 0.9 * WIDTH
    z = 2 + 4 * uniform(count)
    z[::15] = -1.0
    pixels = (1.3 * uniform(count, 2) - 0.15) * torch.tensor([WIDTH, HEIGHT])
    centre = torch.tensor([WIDTH / 2, HEIGHT / 2 + 1], dtype=torch.float64)
    spread = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    turned = torch.eye(4, dtype=torch.float64)
    angle = torch.tensor(0.1, dtype=torch.float64)
    turned[0, 0] = turned[2, 2] = torch.cos(angle)
    turned[0, 2], turned[2, 0] = torch.sin(angle), -torch.sin(angle)
    turned[:3, 3] = torch.tensor([-0.3, 0.05, 0.1])
    K = torch.tensor([[focal, 0, 0], [0, 1.1 * focal, 0], [0, 0, 1]], dtype=torch.float64)
    K[:2, 2] = centre
    return SplatScene(
        means=torch.cat([(pixels - centre) / focal * z[:, None], z[:, None]], dim=-1),
        quats=2 * torch.randn(count, 4, generator=generator, dtype=torch.float64),
        scales=torch.exp(0.5 + 0.6 * spread) * z.abs()[:, None] / focal,
        opacities=0.05 + 0.95 * uniform(count),
        colors=uniform(2, count, 3),
        viewmats=torch.stack([turned, torch.eye(4, dtype=torch.float64)]),
        Ks=torch.stack([K, K]),
        background=torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64),
    )


def make_inner_scene(count: int = 150, seed: int = 0) -> SplatScene:
    """No Gaussian so far outside that the Jacobian is clamped: there Ks' gradients differ."""
    scene = make_splat_scene(count, seed)
    return replace(scene, means=scene.means * torch.tensor([0.6, 0.6, 1.0]))


def draw(rasterizer, scene: SplatScene, **options) -> Rasterized:
    return rasterizer(*scene.tensors(), WIDTH, HEIGHT, background=scene.background, **options)


def gradients(drawn: Rasterized, scene: SplatScene) -> list[Tensor]:
    """Gradients of a fixed random linear function of all pictures."""
    generator = torch.Generator().manual_seed(5)
    loss = sum(
        (picture * torch.randn(picture.shape, generator=generator).to(picture)).sum()
        for picture in drawn
    )
    return list(torch.autograd.grad(loss, [*scene.tensors(), scene.background]))


def assert_agrees(
    drawn: Rasterized,
    scene: SplatScene,
    reference: Rasterized,
    truth: SplatScene,
    values: float,
    slopes: float,
    apart: str | None = None,
) -> None:
    """Pictures and gradients, those of one tensor maybe left out, are alike."""
    for picture, expected in zip(drawn, reference, strict=True):
        error = (picture.double() - expected).abs().flatten()
        assert error.quantile(0.9999) < values
    names = SplatScene.__slots__
    pairs = zip(gradients(drawn, scene), gradients(reference, truth), strict=True)
    for name, (gradient, expected) in zip(names, pairs, strict=True):
        alike = (gradient.double() - expected).norm() < slopes * expected.norm()
        assert alike or name == apart, name
