"""The main job's stages on a graphics card; what they must do is tested on the CPU, stage by stage.

The rasterizers' contract test holds what gsplat draws, in `tests/render/test_rasterizers.py`.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from backbone_contract import generate, request_for
from cuda import needs_cuda
from lpips_files import heads, trunk
from safetensors.torch import save_file
from toy_trainable import ToyTrainable, toy_options

from reconx.geometry.dust3r.config import VIT_LARGE
from reconx.geometry.dust3r.network import Dust3rNetwork
from reconx.geometry.stereo.dense import StereoInput, estimate_depth
from reconx.pipeline import ReconstructOptions, reconstruct
from reconx.progress import SilentProgress
from reconx.render.rasterizers.registry import choose_rasterizer
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.splats.losses import photometric_loss
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import CONFIDENT, Scene
from reconx.video.registry import make_backbone
from reconx.video.sample import sample_views

ROOM = Path(__file__).resolve().parents[1] / "assets" / "sample-room" / "images"


@needs_cuda
def test_the_photometric_loss_on_cuda_has_the_value_and_gradient_it_has_in_double_precision():
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(2, 64, 80, 3, generator=generator)
    weights = torch.rand(64, 80, generator=generator).mul(2).sub(0.5).clamp(0, 1)
    answers = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
        drawn = image.to(device, dtype).requires_grad_()
        loss = photometric_loss(drawn, target.to(drawn), weights.to(drawn))
        (gradient,) = torch.autograd.grad(loss, drawn)
        answers.append((float(loss.detach()), gradient.cpu().double()))
    (expected, expected_gradient), (found, found_gradient) = answers
    assert found == pytest.approx(expected, rel=1e-5)
    assert (found_gradient - expected_gradient).norm() < 1e-4 * expected_gradient.norm()


@needs_cuda
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


@needs_cuda
def test_a_fit_on_cuda_trains_on_frames_with_every_option(
    plane_scene: Scene, tmp_path: Path
) -> None:
    lpips = tmp_path / "lpips.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in (trunk() | heads()).items()}, lpips)
    path = make_path(plane_scene, PathOptions(frames=5))
    views = sample_views(make_backbone("warp"), plane_scene, path, device="cuda")
    options = FitOptions(
        steps=30,
        max_gaussians=2000,
        sh_degree=1,
        train_on_generated=True,
        robust_after=0.5,
        annealing=0.5,
        perceptual_weight=0.5,
        lpips=lpips,
    )
    losses = [
        fit_gaussians(plane_scene, views, options=options, device=device).report["loss"]
        for device in ("cpu", "cuda")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@needs_cuda
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


@needs_cuda
def test_dust3r_on_cuda_sees_the_points_it_sees_on_the_cpu() -> None:
    sizes = {"encoder_width": 128, "encoder_depth": 2, "decoder_width": 128, "decoder_depth": 3}
    torch.manual_seed(0)
    network = Dust3rNetwork(replace(VIT_LARGE, dpt=None, **sizes)).eval()
    images = torch.rand(2, 64, 96, 3)
    points = []
    for device in ("cpu", "cuda"):
        with torch.no_grad():
            tokens = network.to(device).encode(images.to(device))
            points.append(network.decode(tokens[:1], tokens[1:], 4, 6)[0][0].cpu())
    assert (points[1] - points[0]).norm() < 1e-3 * points[0].norm()


@needs_cuda
@pytest.mark.parametrize("name", ["warp", "small"])
def test_frames_on_cuda_are_those_of_the_cpu(name: str, plane_scene: Scene) -> None:
    backbone = make_backbone(name)
    request = request_for(backbone, plane_scene)
    frames = [
        generate(backbone, replace(request, device=device)).frames for device in ("cpu", "cuda")
    ]
    assert (frames[1] - frames[0]).abs().mean() < 2e-3


@needs_cuda
def test_training_on_cuda_lowers_the_loss(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    from reconx.structure.model import load_structure_model
    from reconx.training.run import TrainingRun

    options = toy_options(learn={"steps": 20, "rate": 1e-2, "average": 0.0, "batch": 4})
    run = TrainingRun(options, ToyTrainable(), tmp_path / "run", cache=tmp_path / "cache")
    assert run.device.type == "cuda"
    run.fill_cache()
    assert load_structure_model(run.train()).facts.steps == 20
    lines = (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])


@needs_cuda
def test_the_whole_job_on_cuda_is_as_good_as_on_the_cpu() -> None:
    photos = [ROOM / "left.jpg", ROOM / "middle.jpg"]
    quality = []
    for device in ("cpu", "cuda"):
        options = ReconstructOptions.of_quality(
            "draft", size=192, frames=5, steps=60, device=device
        )
        made = reconstruct(photos, options=options)
        assert made.gaussians.means.isfinite().all()
        quality.append(made.fit.report["psnr_captured"]["middle.jpg"])
    assert quality[1] == pytest.approx(quality[0], abs=1)
