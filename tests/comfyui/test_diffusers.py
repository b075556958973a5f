"""The shipped workflow of a diffusers backbone, where the host's Python has that package."""

import subprocess
from pathlib import Path

import pytest
from comfy_host import Host
from comfy_workflow import read_workflow, set_input

from reconx.export.ply import read_gaussians_ply

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "example_workflows" / "LTX keyframes + renders (diffusers).json"
PACKAGES = ("diffusers", "accelerate", "transformers", "ftfy")
WRITE_PIPELINE = """
import sys
sys.path.append(sys.argv[1])
from tiny_pipelines import write_pipeline
write_pipeline("ltx", sys.argv[2])
"""
SMALL = (
    "ReconX_LoadPhotos.max_size=256",
    "ReconX_BuildPointCloud.size=192",
    "ReconX_BuildPointCloud.depth_size=192",
    "ReconX_CameraPath.frames=9",
    "ReconX_CameraPath.width=64",
    "ReconX_CameraPath.height=48",
    "ReconX_CamerasToLoad3D.index=2",
    "ReconX_SampleViews.steps=2",
    "ReconX_FitGaussians.steps=3",
    "ReconX_FitGaussians.max_gaussians=5000",
)


@pytest.fixture
def pipelines(host_python: Path, tmp_path: Path) -> Path:
    """The folder of model folders, with the pipeline that the workflow names."""
    look = (
        "import importlib.util as i, sys; print(*[n for n in sys.argv[1:] if not i.find_spec(n)])"
    )
    command = [host_python, "-c", look, *PACKAGES]
    missing = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if missing:
        pytest.skip(f"{host_python} lacks {missing}")
    folder = tmp_path / "diffusers" / "LTX-Video-0.9.5"
    support = ROOT / "tests" / "support"
    subprocess.run([host_python, "-c", WRITE_PIPELINE, support, folder], check=True)
    return tmp_path


@pytest.mark.comfyui
def test_ltx_runs_from_photos_to_splat(comfyui: Path, host_python: Path, pipelines: Path) -> None:
    with Host(comfyui, host_python, models=pipelines, cpu=True) as host:
        schemas = host.object_info()
        prompt = read_workflow(FILE, schemas)
        for change in SMALL:
            set_input(prompt, schemas, change)
        outcome = host.run(prompt)
        assert outcome.status == "success", outcome.error
        files = [path for shown in outcome.outputs.values() for path in host.files(shown)]
        (splat,) = (
            path for path in files if path.suffix == ".ply" and path.parent.name == "reconx"
        )
        assert len(read_gaussians_ply(splat)) > 1000
