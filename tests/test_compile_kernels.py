"""What is compiled beforehand is what is used: each kernel in one version."""

import pytest
import torch
from compile_kernels import compile_matcher, compile_rasterizer

from reconx.geometry.stereo.matcher import DepthRange, Phase, StereoView, make_matcher
from reconx.ops.image import luminance
from reconx.render.rasterizers.registry import make_rasterizer
from reconx.splats.losses import photometric_loss, prepare_loss
from reconx.types import Scene

pytest.importorskip("numba")


def test_dense_stereo_needs_no_other_version(plane_scene: Scene) -> None:
    from reconx.geometry.stereo import numba_kernels as kernels

    compile_matcher()
    images, cameras = plane_scene.photos.images, plane_scene.cameras
    views = [
        StereoView(camera=cameras[i], grey=luminance(images[i]), image=images[i]) for i in range(3)
    ]
    matcher = make_matcher("numba", views[0], views[1:], DepthRange(low=0.5, high=2.5))
    inverse = torch.ones(images.shape[1:3])
    planes = torch.stack([inverse, torch.zeros_like(inverse), torch.zeros_like(inverse)])
    for others in (None, [inverse, inverse]):
        matcher.cost(planes, others)
        matcher.improve(planes, others, Phase(level=0, rounds=1, sigmas=(2.0, 0.5), sweep=4), 2)
    matcher.inspect(planes, [inverse, inverse])
    for kernel in (kernels.sweep, kernels.visit, kernels.inspect):
        assert len(kernel.compiled.signatures) == 1


def test_the_rasterizer_needs_no_other_version() -> None:
    from reconx.render.rasterizers import numba_binning, numba_blending, numba_projection

    compile_rasterizer()
    count = 3
    inputs = [
        torch.tensor([[0.0, 0.0, 2.0]]).repeat(count, 1),
        torch.eye(4)[:1].repeat(count, 1),
        torch.full((count, 3), 0.1),
        torch.full((count,), 0.5),
        torch.ones(2, count, 3),
        torch.eye(4).repeat(2, 1, 1),
        torch.eye(3).repeat(2, 1, 1),
    ]
    drawn = make_rasterizer("numba")(
        *(value.requires_grad_() for value in inputs),
        20,
        12,
        antialiased=True,
        background=torch.zeros(3, requires_grad=True),
    )
    (drawn.colour.sum() + drawn.alpha.sum() + drawn.depth.sum()).backward()
    for kernel in (
        numba_projection.project.compiled,
        numba_binning.sort_by_depth,
        numba_binning.bin_to_tiles,
        numba_blending.blend.compiled,
        numba_blending.blend_backward.compiled,
        numba_projection.project_backward.compiled,
    ):
        assert len(kernel.signatures) == 1


def test_the_loss_needs_no_other_version() -> None:
    from reconx.splats.losses.numba_photometric import compare_rows

    prepare_loss()
    image = torch.rand(12, 20, 3, requires_grad=True)
    photometric_loss(image, torch.rand(12, 40, 3)[:, ::2], torch.rand(20, 12).mT).backward()
    assert len(compare_rows.signatures) == 1
