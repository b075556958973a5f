import gc
import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reconx.errors import InputError
from reconx.progress import Progress
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Cameras, Scene
from reconx.video.base import BackboneSpec, Clip, ClipRequest
from reconx.video.fitting import fit_cameras_to_spec
from reconx.video.sample import sample_views
from reconx.video.storage import new_zeros, on_disk

SPEC = BackboneSpec(
    name="plain", factory="", keyframes="any", needs_first=False, renders="native", max_frames=9
)
STATUS = Path("/proc/self/status")


def own_megabytes() -> float:
    """Memory that no file backs; what lies in a mapped file can be given back at any time."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1e3


class Showing:
    """Shows the renders, and keeps what the process took while it did."""

    def __init__(self) -> None:
        self.spec = SPEC
        self.taken: list[float] = []

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        return fit_cameras_to_spec(cameras, self.spec)

    def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
        self.taken.append(own_megabytes())
        return Clip(frames=request.renders.colour, confidence=None)


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells file-backed memory apart")
def test_beyond_the_cap_memory_does_not_grow_with_the_path(
    plane_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    few = torch.zeros_like(plane_scene.valid)
    few[:, ::9, ::9] = True
    scene = replace(plane_scene, confidence=plane_scene.confidence.where(few, 1.0))
    path = make_path(scene, PathOptions(kind="orbit", frames=80, width=288))
    backbone = Showing()
    with caplog.at_level(logging.INFO, logger="reconx"):
        views = sample_views(backbone, scene, path, max_gigabytes=0.01)
    whole = path.cameras.width * path.cameras.height * len(path) * 16 / 1e6
    assert max(backbone.taken[2:]) - backbone.taken[1] < whole / 4
    assert "The frames take 0.1 GB: they lie in a temporary file" in caplog.text
    short = replace(path, cameras=path.cameras[:9], photo_index=path.photo_index[:9])
    in_memory = sample_views(Showing(), scene, short)
    assert torch.equal(views.frames[:9], in_memory.frames)


def test_files_go_with_their_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stored = new_zeros((3, 1000, 1000), torch.float32, disk=True)
    assert (stored == 0).all()
    part = stored[1:]
    stored += torch.arange(3.0)[:, None, None]
    del stored
    gc.collect()
    assert part.mean() == 1.5
    del part
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_below_the_cap_nothing_lies_on_disk(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="reconx"):
        assert not on_disk(4_000_000, 0.004)
    assert not caplog.messages


def test_a_full_disk_is_found_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(tempfile.gettempdir())._replace(free=1_500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    with pytest.raises(InputError, match=r"take 2.0 GB, and '.*' has 0.0 GB left"):
        on_disk(2_000_000_000, 1)
