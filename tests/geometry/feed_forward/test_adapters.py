"""Every adapter: loads the checkpoint of a package, asks its network and reads the answer.

Where a package is not installed, a stand-in of the same interface takes its place (`packages/`).
"""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reconx.errors import AlignmentFailed, InputError, WeightsNotFound
from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.estimators.registry import ESTIMATORS, MODELS
from reconx.geometry.feed_forward.estimator import FeedForwardEstimator
from reconx.geometry.feed_forward.mapanything import load_mapanything
from reconx.geometry.feed_forward.model import FeedForwardModel
from reconx.geometry.feed_forward.pi3 import load_pi3
from reconx.geometry.feed_forward.vggt import load_vggt
from reconx.ops.projection import world_to_camera
from reconx.ops.quaternion import matrix_to_quaternion
from reconx.progress import SilentProgress
from reconx.types import Scene

LOADERS: dict[str, Callable[[Path], FeedForwardModel]] = {
    "pi3": load_pi3,
    "vggt": load_vggt,
    "mapanything": load_mapanything,
}
STAND_INS = Path(__file__).parent / "packages"


@pytest.fixture(params=LOADERS)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An adapter whose package can be imported."""
    name = request.param
    if importlib.util.find_spec(name):
        pytest.skip(f"the package {name} is installed: its own test asks the real one")
    monkeypatch.syspath_prepend(STAND_INS)
    before = set(sys.modules)
    yield name
    for module in set(sys.modules) - before:
        if module.split(".")[0] == name:
            del sys.modules[module]


def weights_of(name: str, scene: Scene) -> dict[str, torch.Tensor]:
    """The scene's geometry in the words of each package."""
    cameras = scene.cameras
    pairs = zip(scene.points, cameras.viewmats, strict=True)
    local = torch.stack([world_to_camera(points, viewmat) for points, viewmat in pairs])
    if name == "pi3":
        return {"point_head": local, "camera_head": cameras.camera_to_world}
    sides = torch.tensor([cameras.width, cameras.height])
    if name == "vggt":
        fields = 2 * torch.atan(sides / 2 / cameras.K[:, [0, 1], [0, 1]])
        quaternions = matrix_to_quaternion(cameras.viewmats[:, :3, :3])[:, [1, 2, 3, 0]]
        # Any length of a quaternion is the same rotation.
        parts = [cameras.viewmats[:, :3, 3], 1.7 * quaternions, fields.flip(-1)]
        return {
            "camera_head.answer": torch.cat(parts, dim=-1),
            "depth_head.answer": local[..., 2].contiguous(),
            "point_head.answer": torch.zeros(1),
            "track_head.answer": torch.zeros(1),
        }
    K = cameras.K.clone()
    K[:, :2] /= sides[:, None]
    # As safetensors writes it: the head has two names, of which one is kept.
    return {
        "encoder.weight": torch.zeros(1, 1),
        "encoder.bias": torch.zeros(1),
        "dense_head.0.weight": torch.zeros(1, 1),
        "dense_head.0.bias": torch.zeros(1),
        "depth": local[..., 2].contiguous(),
        "intrinsics": K,
        "poses": cameras.camera_to_world,
    }


def save(
    folder: Path, name: str, scene: Scene, repository: str = "facebookresearch/dinov2"
) -> Path:
    config = {
        "name": "tiny",
        "encoder_config": {"repository": repository, "pretrained_checkpoint_path": "evil.pt"},
        "pretrained_checkpoint_path": "evil.pt",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(weights_of(name, scene), folder / "model.safetensors")
    return folder / "model.safetensors"


def test_all_adapters_are_here() -> None:
    assert set(LOADERS) == set(MODELS) - {"dust3r"}
    for name in LOADERS:
        assert ESTIMATORS[name].requires[-1] == name
        assert "git+https://github.com/" in ESTIMATORS[name].install


def test_photos_become_the_scene(name: str, tmp_path: Path, plane_scene: Scene) -> None:
    model = LOADERS[name](save(tmp_path, name, plane_scene))
    assert not any(part.requires_grad for part in model.network.parameters())
    estimator = FeedForwardEstimator(GeometryOptions(), model)
    scene = estimator.estimate(plane_scene.photos, SilentProgress())
    truth = plane_scene.cameras
    torch.testing.assert_close(scene.cameras.centers, truth.centers, atol=0.02, rtol=0)
    torch.testing.assert_close(scene.cameras.K, truth.K, atol=0.01, rtol=1e-3)
    error = (scene.points - plane_scene.points).norm(dim=-1)
    assert float(error[scene.measured].median()) < 0.03  # what is filled counts in the scale
    assert float(scene.measured.float().mean()) > 0.7
    assert (scene.source.estimator, scene.source.checkpoint) == (name, "model.safetensors")
    assert scene.source.licence.startswith("CC BY-NC 4.0")
    assert not scene.points.is_inference()


def test_a_wrong_checkpoint_is_told(name: str, tmp_path: Path, plane_scene: Scene) -> None:
    path = save(tmp_path, name, plane_scene)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(
        InputError, match="'model.safetensors' does not fit: .* https://huggingface"
    ):
        LOADERS[name](path)
    with pytest.raises(
        WeightsNotFound, match="no checkpoint '.*gone.pt'. Get one from https://hug"
    ):
        LOADERS[name](tmp_path / "gone.pt")


def test_impossible_lenses_are_told(name: str, tmp_path: Path, plane_scene: Scene) -> None:
    path = save(tmp_path, name, plane_scene)
    weights = weights_of(name, plane_scene)
    if name == "pi3":
        weights["point_head"][1, ..., 0] *= -1
    elif name == "vggt":
        weights["camera_head.answer"][1, 8] = 0
    else:
        weights["intrinsics"][1, 0, 0] *= -1
    save_file(weights, path)
    images = torch.rand(3, 70, 98, 3)
    with pytest.raises(AlignmentFailed, match=f"{name} says of photo 2 is no picture of a camera"):
        LOADERS[name](path).predict(images)


@pytest.mark.parametrize("name", ["mapanything"], indirect=True)
def test_the_layout_beside_the_weights(name: str, tmp_path: Path, plane_scene: Scene) -> None:
    path = save(tmp_path, name, plane_scene, repository="somebody/else")
    with pytest.raises(InputError, match="its encoder would be downloaded from somebody/else"):
        load_mapanything(path)
    config = tmp_path / "config.json"
    for content, text in {
        "{": "is not JSON",
        "[]": "no JSON object",
        "{}": "describes no Map",
    }.items():
        config.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=text):
            load_mapanything(path)
    config.unlink()
    with pytest.raises(WeightsNotFound, match="config.json', which tells the layout"):
        load_mapanything(path)
