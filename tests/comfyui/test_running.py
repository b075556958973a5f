"""How nodes behave in a running host: cancelling, caching, errors, memory."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from comfy_host import Host, HostError, Prompt

pytestmark = pytest.mark.comfyui

ROOM = Path(__file__).resolve().parents[2] / "assets" / "sample-room" / "images"
CANCEL_SECONDS = 2.0


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def cloud_graph(*, size: int = 192, seed: int = 0, **source: Any) -> Prompt:
    """Photos, their cloud (node 2) and its pictures (node 3)."""
    source = source or {"source": "sample-room"}
    options = {"size": size, "depth_size": size, "seed": seed, "estimator": "stereo"}
    return {
        "1": node("ReconX_LoadPhotos", max_size=max(size, 256), **source),
        "2": node("ReconX_BuildPointCloud", photos=["1", 0], **options),
        "3": node("PreviewImage", images=["2", 2]),
    }


def fit_graph(*, steps: int, **cloud: Any) -> Prompt:
    """A splat (node 4) of the small cloud."""
    options = {"max_gaussians": 20000, "sh_degree": 0, "seed": 0, "rasterizer": "auto"}
    flags = {"train_on_generated": False, "refine_poses": True}
    return cloud_graph(**cloud) | {
        "4": node("ReconX_FitGaussians", scene=["2", 0], steps=steps, **options, **flags),
        "5": node("PreviewAny", source=["4", 3]),
    }


def folder_source(folder: Path) -> dict[str, str]:
    return {"source": "folder", "source.folder": str(folder)}


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """A folder with two photos of the room."""
    for name in ("left.jpg", "middle.jpg"):
        shutil.copy(ROOM / name, tmp_path)
    return tmp_path


def test_an_unchanged_graph_does_not_run_again(host: Host) -> None:
    first = host.run(cloud_graph())
    assert first.status == "success", first.error
    again = host.run(cloud_graph())
    assert again.cached == {"1", "2", "3"}
    assert again.outputs == first.outputs


def test_a_changed_photo_is_noticed(host: Host, photo_folder: Path) -> None:
    graph = {
        "1": node("ReconX_LoadPhotos", max_size=64, **folder_source(photo_folder)),
        "2": node("PreviewImage", images=["1", 1]),
    }
    assert host.run(graph).status == "success"
    assert host.run(graph).cached == {"1", "2"}
    shutil.copy(ROOM / "right.jpg", photo_folder / "middle.jpg")
    os.utime(photo_folder / "middle.jpg", ns=(1, 1))
    assert host.run(graph).cached == set()


def seconds_to_cancel(host: Host, graph: Prompt, stage: str) -> float:
    """Cancel a graph once the named stage takes its steps; the time until the host says so."""
    job = host.queue(graph)
    reached, cancelled = False, None
    for event in job.events(timeout=120):
        reached = reached or event.kind == "progress_text" and stage in event.data["text"]
        if reached and cancelled is None and event.kind == "progress_state":
            host.interrupt(job.id)
            cancelled = time.monotonic()
        if event.kind == "execution_interrupted":
            break
    assert cancelled is not None, f"{stage} was not reached"
    seconds = time.monotonic() - cancelled
    assert job.wait(timeout=10).status == "interrupted"
    return seconds


def test_building_a_cloud_is_cancelled_at_once(host: Host) -> None:
    graph = cloud_graph(size=640, seed=1)
    assert seconds_to_cancel(host, graph, "Dense stereo") < CANCEL_SECONDS
    assert host.run(cloud_graph()).status == "success"


def test_a_fit_is_cancelled_at_once(host: Host) -> None:
    graph = fit_graph(steps=5000)
    assert seconds_to_cancel(host, graph, "Fitting") < CANCEL_SECONDS
    after = host.run(fit_graph(steps=3))
    assert after.status == "success", after.error
    assert "2" in after.cached


def test_a_missing_folder_is_told(host: Host, tmp_path: Path) -> None:
    outcome = host.run(cloud_graph(**folder_source(tmp_path / "nowhere")))
    assert outcome.status == "error"
    assert outcome.error.startswith("node 1 (ReconX_LoadPhotos): ")
    assert "nowhere" in outcome.error


def test_one_photo_is_too_few(host: Host, photo_folder: Path) -> None:
    (photo_folder / "left.jpg").unlink()
    outcome = host.run(cloud_graph(**folder_source(photo_folder)))
    assert outcome.status == "error"
    assert outcome.error.startswith("node 1 (ReconX_LoadPhotos): Only one photo was given")


def test_sockets_of_other_types_are_refused(host: Host) -> None:
    graph = cloud_graph()
    graph["2"]["inputs"]["photos"] = ["1", 1]
    with pytest.raises(HostError, match=r"node 2 .*IMAGE.*RECONX_PHOTOS"):
        host.queue(graph)


@pytest.mark.slow
def test_many_runs_do_not_grow_the_process(
    comfyui: Path, host_python: Path, photo_folder: Path
) -> None:
    def run(host: Host, seed: int) -> None:
        source = folder_source(photo_folder)
        outcome = host.run(fit_graph(steps=3, size=64, seed=seed, **source))
        assert outcome.status == "success", outcome.error
        assert not outcome.cached & {"2", "4"}

    # A process of its own: what earlier tests have freed would hide what these runs keep.
    with Host(comfyui, host_python, cpu=True) as host:
        for seed in range(3):  # What is made once, is made now.
            run(host, seed)
        before = host.memory_megabytes()
        for seed in range(3, 23):
            run(host, seed)
        assert host.memory_megabytes() - before < 50
