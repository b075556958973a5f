"""What a device makes of the costly stages: one JSON with seconds and peak memory of each.

Run from the repository's root: `python benchmarks/gpu.py --device cuda`. Every stage works on made
up data with random weights, so nothing is downloaded: a rasterizer's forward and backward pass and
how far it agrees with plain torch, a fit of 1000 steps at 512 x 512 with up to 200 thousand
Gaussians, the same with LPIPS on VGG16, dense stereo, DUSt3R's pairs, and what the structure
adapter adds to a block of Wan 1.3B; and the sample room's photos, as the one stage on real ones,
from files to Gaussians. A stage that cannot run is listed with the reason. `--quick` proves on any
machine that they run, but the adapter; its figures mean nothing.

On the CPU, peak memory is the whole process's; on CUDA, what torch held on the device.
"""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from scenes import make_inputs, make_photographed_plane

from reconx.geometry.dust3r.config import VIT_LARGE, NetworkConfig
from reconx.geometry.dust3r.network import Dust3rNetwork
from reconx.geometry.stereo.dense import StereoInput, estimate_depth
from reconx.pipeline import ReconstructOptions, reconstruct
from reconx.progress import SilentProgress, measure_usage
from reconx.render.rasterizers.registry import choose_rasterizer, make_rasterizer
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.splats.perceptual.lpips import make_vgg16
from reconx.splats.perceptual.weights import LPIPS_WEIGHT
from reconx.types import CONFIDENT

Figures = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the jobs are."""

    side: int = 512
    """Of square pictures, in pixels."""
    gaussians: int = 200_000
    steps: int = 1000
    """Of the fit."""
    views: int = 3
    photos: int = 3
    """Of DUSt3R's complete graph, 512 x 384 pixels each."""
    dust3r: NetworkConfig = VIT_LARGE
    quality: str = "normal"
    """Of the whole job."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Of that quality's numbers."""
    runs: int = 5
    """Of what is short enough to be repeated."""


TINY = replace(
    VIT_LARGE, encoder_width=128, encoder_depth=2, decoder_width=64, decoder_depth=2, dpt=None
)
QUICK = Sizes(
    side=64,
    gaussians=2000,
    steps=10,
    photos=2,
    dust3r=TINY,
    quality="draft",
    overrides={"size": 192, "frames": 4, "steps": 10},
    runs=2,
)


ANSWERS = (
    *("colour", "alpha", "depth"),
    *("by_means", "by_quats", "by_scales", "by_opacities", "by_colors", "by_viewmats", "by_Ks"),
)
"""Pictures, and gradients of the sum of all their pixels."""


def measure_rasterizer(device: str, sizes: Sizes) -> Figures:
    """Forward and backward of the rasterizer that "auto" takes, and of plain torch."""
    tensors = make_inputs(sizes.gaussians, sizes.side, sizes.side, kind="surface", device=device)

    def draw(name: str) -> list[torch.Tensor]:
        drawn = make_rasterizer(name, device)(*tensors, sizes.side, sizes.side)
        grads = torch.autograd.grad(drawn, tensors, [torch.ones_like(part) for part in drawn])
        float(grads[0].sum())  # a number: so that it waits until the device is done
        return [part.detach() for part in (*drawn, *grads)]

    figures = {}
    answers = []
    for name in dict.fromkeys((choose_rasterizer("auto", device), "torch")):
        answers.append(draw(name))
        figures[name] = repeat(device, sizes.runs, partial(draw, name))
    differences = {
        name: float((found - expected).norm() / expected.norm())
        for name, found, expected in zip(ANSWERS, answers[0], answers[-1], strict=True)
    }
    return {
        "gaussians": sizes.gaussians,
        "side": sizes.side,
        "forward_backward": figures,
        "relative_difference": differences,
    }


def measure_fit(device: str, sizes: Sizes, base: FitOptions | None = None) -> Figures:
    """A whole fit, compilation excluded; `base` holds what `sizes` does not say."""
    scene, _ = make_photographed_plane(sizes.views, sizes.side, sizes.side)
    options = replace(
        base or FitOptions(),
        steps=sizes.steps,
        max_gaussians=sizes.gaussians,
        coarse_share=0,
    )
    fit_gaussians(scene, options=replace(options, steps=2, max_gaussians=100), device=device)
    found: list[Figures] = []
    usage = measure(
        device,
        lambda: found.append(dict(fit_gaussians(scene, options=options, device=device).report)),
    )
    kept = ("steps", "gaussians", "loss", "rasterizer")
    return {name: found[0][name] for name in kept} | {"side": sizes.side} | usage


def measure_perceptual_fit(device: str, sizes: Sizes) -> Figures:
    """A whole fit with LPIPS on VGG16, of random weights."""
    torch.manual_seed(0)
    network = make_vgg16()
    tensors = {
        f"features.{index}.{name}": tensor.detach()
        for index, convolution in enumerate(network.convolutions())
        for name, tensor in convolution.named_parameters()
    }
    tensors |= {f"lin{i}.model.1.weight": head.detach() for i, head in enumerate(network.heads)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lpips.safetensors"
        save_file(tensors, path)
        options = FitOptions(perceptual_weight=LPIPS_WEIGHT, lpips=path)
        return measure_fit(device, sizes, options)


def measure_stereo(device: str, sizes: Sizes) -> Figures:
    """Dense stereo of all views, each against the others; and how much of it is right."""
    scene, anchors = make_photographed_plane(sizes.views, sizes.side, sizes.side)
    everyone = range(sizes.views)
    stereo = StereoInput(
        images=scene.photos.images,
        valid=scene.photos.valid,
        cameras=scene.photo_cameras,
        sources=tuple(tuple(other for other in everyone if other != view) for view in everyone),
        anchors=anchors,
    )
    found: list[Any] = []

    def run() -> None:
        found.append(estimate_depth(stereo, device=device, seed=0, progress=SilentProgress()))

    usage = measure(device, run)
    local = scene.points - scene.cameras.camera_to_world[:, None, None, :3, 3]
    relative = (found[0].depth / local[..., 2] - 1).abs()
    measured = found[0].confidence >= CONFIDENT
    return usage | {
        "views": sizes.views,
        "side": sizes.side,
        "measured_share": round(float(measured.float().mean()), 4),
        "beyond_2_percent": round(float((relative[measured] > 0.02).float().mean()), 4),
    }


def measure_dust3r(device: str, sizes: Sizes) -> Figures:
    """Pictures to pointmaps of a complete graph, with random weights."""
    from dust3r import pairs_of, run_ours

    torch.manual_seed(0)
    with torch.device(device):
        network = Dust3rNetwork(sizes.dust3r).eval()
        images = torch.rand(sizes.photos, 384, 512, 3)

    @torch.no_grad()
    def run() -> None:
        float(run_ours(network, images, pairs_of(sizes.photos))[-1].sum())

    run()
    return {"photos": sizes.photos} | repeat(device, sizes.runs, run)


def measure_adapter(device: str, sizes: Sizes) -> Figures:
    """What structure adds to one block of a video model; see `structure_cost.py`."""
    import structure_cost

    if sizes == QUICK:
        raise RuntimeError("left out of a quick run: one block of Wan takes minutes on a CPU")
    return structure_cost.measure(device, sizes.runs)


def measure_job(device: str, sizes: Sizes) -> Figures:
    """The sample room from its photos to Gaussians, as `reconx reconstruct` does it."""
    options = ReconstructOptions.of_quality(sizes.quality, device=device, **sizes.overrides)
    found: list[Any] = []
    photos = ROOT / "assets" / "sample-room" / "images"
    files = [photos / f"{name}.jpg" for name in ("left", "middle", "right")]
    usage = measure(device, lambda: found.append(reconstruct(files, options=options)))
    made = found[0]
    kept = ("steps", "gaussians", "rasterizer", "psnr_captured")
    stages = {name: round(stage.seconds, 3) for name, stage in made.usage.items()}
    figures = {name: made.fit.report[name] for name in kept}
    return usage | {"quality": sizes.quality, "stage_seconds": stages} | figures


def repeat(device: str, runs: int, call: Callable[[], object]) -> Figures:
    """Seconds of several runs, and the most memory of any."""
    found = [measure(device, call) for _ in range(runs)]
    seconds = [run["seconds"] for run in found]
    return {
        "min_seconds": min(seconds),
        "median_seconds": round(statistics.median(seconds), 5),
        "peak_megabytes": max(run["peak_megabytes"] for run in found),
    }


def measure(device: str, call: Callable[[], object]) -> Figures:
    """Seconds and peak memory of one call."""
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    with measure_usage() as usage:
        call()
        if cuda:
            torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / 1e6 if cuda else usage.peak_memory_mb
    return {"seconds": round(usage.seconds, 5), "peak_megabytes": round(peak, 1)}


STAGES: dict[str, Callable[[str, Sizes], Figures]] = {
    "rasterizer": measure_rasterizer,
    "fit": measure_fit,
    "fit_with_lpips": measure_perceptual_fit,
    "stereo": measure_stereo,
    "dust3r": measure_dust3r,
    "adapter": measure_adapter,
    "job": measure_job,
}


def run_stages(names: list[str], device: str, sizes: Sizes) -> tuple[Figures, dict[str, str]]:
    """Figures of the stages that ran; of the others the reason why not."""
    figures, failed = {}, {}
    for name in names:
        try:
            figures[name] = STAGES[name](device, sizes)
            print(name, json.dumps(figures[name]), flush=True)
        except Exception as error:  # One stage's trouble, as a lack of memory, is not another's.
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(name, "did not run:", failed[name], flush=True)
    return figures, failed


def describe_device(device: str) -> str:
    """Its name, for people."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device}, {platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def list_versions() -> dict[str, str]:
    """Of what the figures depend on; absent packages are left out."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "numba", "gsplat", "diffusers"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def main() -> None:
    """Measure everything and write one JSON file."""
    parser = argparse.ArgumentParser(description="Time the costly stages on a device.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--quick", action="store_true", help="tiny jobs: does everything run?")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    sizes = QUICK if options.quick else Sizes()
    if options.quick:  # Tensors are tiny: threads wait for each other longer than they work.
        torch.set_num_threads(1)
    figures, failed = run_stages(options.stages, options.device, sizes)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": describe_device(options.device),
        "versions": list_versions(),
        "quick": options.quick,
        "note": options.note,
        "sizes": asdict(sizes),
        "figures": figures,
        "did_not_run": failed,
    }
    kind = torch.device(options.device).type
    name = f"gpu-{kind}{'-quick' if options.quick else ''}-{datetime.now(UTC):%Y-%m-%d}.json"
    path = options.out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
