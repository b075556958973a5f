"""Posed videos of one's own: both layouts, in tiny."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reconx.datasets.base import DepthDataset
from reconx.datasets.chunks import ChunkFolder
from reconx.datasets.folders import PosedFolders
from reconx.errors import InputError
from reconx.saving import load_scene, save_scene
from reconx.types import Scene


@pytest.fixture
def videos(plane_scene: Scene, tmp_path: Path) -> Path:
    """One scene per layout, without the scene file: photos and cameras alone."""
    for layout in ("nerfstudio", "colmap"):
        folder = save_scene(tmp_path / layout, plane_scene, layout)
        (folder / "scene.safetensors").unlink()
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_both_layouts_give_the_same_frames(videos: Path) -> None:
    data = PosedFolders(videos)
    assert data.scenes() == ("colmap", "nerfstudio")
    first, second = (data.read(scene, (2, 0)) for scene in data.scenes())
    assert first.names == second.names == ("view2.png", "view0.png")
    assert torch.equal(first.images, second.images)
    assert first.prior is not None
    assert second.prior is not None
    torch.testing.assert_close(first.prior.camera_to_world, second.prior.camera_to_world)
    torch.testing.assert_close(first.prior.K, second.prior.K)
    assert [data.length(scene) for scene in data.scenes()] == [3, 3]


def test_a_scene_alone_will_do(videos: Path) -> None:
    assert PosedFolders(videos / "colmap").scenes() == ("colmap",)
    assert load_scene(videos / "colmap").scene is None


def test_depth_goes_with_its_frame(videos: Path) -> None:
    folder = videos / "nerfstudio"
    document = json.loads((folder / "transforms.json").read_text("utf-8"))
    for number, frame in enumerate(document["frames"], start=1):
        frame["depth_file_path"] = f"depth-{number}.png"
        Image.fromarray(np.full((4, 6), number * 500, np.uint16)).save(
            folder / f"depth-{number}.png"
        )
    (folder / "transforms.json").write_text(json.dumps(document), "utf-8")
    data = PosedFolders(videos)
    assert isinstance(data, DepthDataset)
    depth = data.read_depth("nerfstudio", (2, 0))
    assert depth is not None
    assert [round(float(part.mean()), 4) for part in depth] == [1.5, 0.5]
    assert data.read_depth("colmap", (0,)) is None


def test_what_is_not_there_is_named(videos: Path) -> None:
    with pytest.raises(InputError, match=r"empty' holds no posed photos.*transforms\.json"):
        PosedFolders(videos / "empty")
    with pytest.raises(InputError, match="Scene 'colmap' has 3 frames.*frame 3"):
        PosedFolders(videos).read("colmap", (0, 3))


def test_the_parts_of_a_chunked_dataset(tmp_path: Path) -> None:
    for part, scene in (("train", "a"), ("test", "b")):
        (tmp_path / part).mkdir()
        (tmp_path / part / "index.json").write_text(json.dumps({scene: "0.torch"}), "utf-8")
    assert ChunkFolder(tmp_path, "train").scenes() == ("a",)
    assert ChunkFolder(tmp_path).scenes() == ("b",)
