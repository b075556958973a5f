"""The main job's stages on a graphics card; what they must do is tested on the CPU, stage by stage.

The rasterizers' contract test holds what gsplat draws, in `tests/render/test_rasterizers.py`.
"""

from dataclasses import replace

import pytest
import torch

from reconx.geometry.stereo.dense import StereoInput, estimate_depth
from reconx.progress import SilentProgress
from reconx.render.rasterizers.registry import choose_rasterizer
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.types import CONFIDENT, Scene

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]


@pytest.mark.parametrize("rasterizer", ["auto", "torch"])
def test_a_fit_on_cuda_is_as_good_as_on_the_cpu(plane_scene: Scene, rasterizer: str) -> None:
    options = FitOptions(steps=60, max_gaussians=2000)
    expected = fit_gaussians(plane_scene, options=options)
    found = fit_gaussians(
        plane_scene, options=replace(options, rasterizer=rasterizer), device="cuda"
    )
    assert found.report["rasterizer"] == choose_rasterizer(rasterizer, "cuda")
    assert found.gaussians.means.device.type == "cpu"
    for name, quality in expected.report["psnr_captured"].items():
        assert found.report["psnr_captured"][name] == pytest.approx(quality, abs=0.5)


def test_dense_stereo_on_cuda_measures_what_it_does_on_the_cpu(plane_scene: Scene) -> None:
    count = len(plane_scene.photos)
    poses = plane_scene.photo_cameras.camera_to_world
    local = torch.linalg.solve(
        poses[:, None, None, :3, :3],
        plane_scene.points.unsqueeze(-1) - poses[:, None, None, :3, 3:],
    )[..., 0]
    rows, columns = torch.meshgrid(torch.arange(4, 72, 8), torch.arange(4, 96, 8), indexing="ij")
    anchors = [
        torch.stack([columns + 0.5, rows + 0.5, 1 / local[view, rows, columns, 2]], -1).flatten(
            0, 1
        )
        for view in range(count)
    ]
    stereo = StereoInput(
        images=plane_scene.photos.images,
        valid=plane_scene.photos.valid,
        cameras=plane_scene.photo_cameras,
        sources=tuple(tuple(o for o in range(count) if o != v) for v in range(count)),
        anchors=tuple(anchors),
    )
    shares = []
    for device in ("cpu", "cuda"):
        found = estimate_depth(stereo, device=device, seed=0, progress=SilentProgress())
        measured = found.confidence >= CONFIDENT
        wrong = (found.depth / local[..., 2] - 1).abs()[measured] > 0.02
        shares.append((float(measured.float().mean()), float(wrong.float().mean())))
    (cpu_measured, cpu_wrong), (gpu_measured, gpu_wrong) = shares
    assert gpu_measured == pytest.approx(cpu_measured, abs=0.05)
    assert gpu_wrong == pytest.approx(cpu_wrong, abs=0.03)
