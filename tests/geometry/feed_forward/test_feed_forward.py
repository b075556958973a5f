"""Networks that see all photos at once: what every machine can check without their packages."""

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from reconx.errors import InputError, MissingDependency, UnsafeCheckpoint, WeightsNotFound
from reconx.geometry.depth_maps import GivenDepth
from reconx.geometry.estimators.base import GeometryEstimator, GeometryOptions
from reconx.geometry.estimators.registry import load_model, make_estimator
from reconx.geometry.feed_forward.estimator import FeedForwardEstimator
from reconx.geometry.feed_forward.model import FeedForwardModel, check_file, load_weights
from reconx.ops.photos import select_photos
from reconx.ops.projection import world_to_camera
from reconx.progress import SilentProgress
from reconx.types import Scene


class Oracle(nn.Module):
    """Knows the depth of one scene, and checks that the photos come as agreed."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        local = zip(scene.points, scene.cameras.viewmats, strict=True)
        self.depth = torch.stack([world_to_camera(p, m)[..., 2] for p, m in local])

    def forward(self, images: torch.Tensor) -> dict[str, object]:
        count, height, width = self.depth.shape
        assert images.shape == (1, count, 3, 14 * round(height / 14), 14 * round(width / 14))
        depth = nn.functional.interpolate(self.depth[None], images.shape[-2:])
        return {"depth": self.scale * depth, "size": "a word of no use"}


def oracle_model(scene: Scene) -> FeedForwardModel:
    def interpret(answer: Mapping[str, torch.Tensor]) -> GivenDepth:
        depth = answer["depth"]
        cameras = scene.cameras.resized(depth.shape[2], depth.shape[1])
        return GivenDepth(
            depth=depth,
            K=cameras.K,
            camera_to_world=cameras.camera_to_world,
            estimator="oracle",
            licence="free",
        )

    return FeedForwardModel(network=Oracle(scene), interpret=interpret, checkpoint="oracle.pt")


def test_photos_become_the_scene(plane_scene: Scene) -> None:
    estimator = FeedForwardEstimator(GeometryOptions(), oracle_model(plane_scene))
    assert isinstance(estimator, GeometryEstimator)
    assert estimator.estimate_cost(plane_scene.photos).seconds > 0
    scene = estimator.estimate(plane_scene.photos, SilentProgress())
    torch.testing.assert_close(
        scene.cameras.centers, plane_scene.cameras.centers, atol=0.02, rtol=0
    )
    error = (scene.points - plane_scene.points).norm(dim=-1)
    assert float(error[scene.measured].median()) < 0.02
    assert float(scene.measured.float().mean()) > 0.7
    assert (scene.source.estimator, scene.source.checkpoint) == ("oracle", "oracle.pt")
    assert scene.source.licence == "free"


def test_bad_input_is_refused(plane_scene: Scene) -> None:
    with pytest.raises(InputError, match="needs a checkpoint, and none was given"):
        FeedForwardEstimator(GeometryOptions())
    estimator = FeedForwardEstimator(GeometryOptions(), oracle_model(plane_scene))
    with pytest.raises(InputError, match="1 photo was given; expected at least 2"):
        estimator.estimate(select_photos(plane_scene.photos, [0]), SilentProgress())
    absent = replace(GeometryOptions(), device="cuda:99")
    with pytest.raises(InputError, match="cuda:99"):
        FeedForwardEstimator(absent, oracle_model(plane_scene)).estimate_cost(plane_scene.photos)


def test_weights_are_read_or_refused(tmp_path: Path) -> None:
    source, network = nn.Linear(2, 3), nn.Linear(2, 3)
    save_file(source.state_dict(), tmp_path / "good.safetensors")
    load_weights(network, tmp_path / "good.safetensors", "the shop")
    assert torch.equal(network.weight, source.weight)
    assert not network.training
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "good.pt")
    load_weights(network, tmp_path / "good.pt", "the shop")
    assert not torch.equal(network.weight, source.weight)
    # Half precision, wrapped, and under a name of the other kind.
    half = {"model": {name: part.half() for name, part in source.state_dict().items()}}
    torch.save(half, tmp_path / "half.safetensors")
    load_weights(network, tmp_path / "half.safetensors", "the shop")
    torch.testing.assert_close(network.weight, source.weight, atol=1e-3, rtol=0)
    assert network.weight.dtype == torch.float32
    for number, nothing in enumerate(([1], {"model": 3})):
        torch.save(nothing, tmp_path / f"nothing{number}.pt")
        with pytest.raises(InputError, match="does not fit: it holds no table of tensors"):
            load_weights(network, tmp_path / f"nothing{number}.pt", "the shop")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    with pytest.raises(InputError, match="'numbers.pt' does not fit"):
        load_weights(network, tmp_path / "numbers.pt", "the shop")
    torch.save(nn.Linear(2, 4).state_dict(), tmp_path / "other.pt")
    with pytest.raises(InputError, match="'other.pt' does not fit: .* from the shop"):
        load_weights(network, tmp_path / "other.pt", "the shop")
    torch.save(source, tmp_path / "code.pt")
    with pytest.raises(UnsafeCheckpoint, match="pickled code"):
        load_weights(network, tmp_path / "code.pt", "the shop")
    (tmp_path / "short.safetensors").write_bytes(b"\x09")
    with pytest.raises(InputError, match="'short.safetensors' cannot be read"):
        load_weights(network, tmp_path / "short.safetensors", "the shop")
    with pytest.raises(WeightsNotFound, match="Get one from the shop"):
        check_file(tmp_path / "gone.pt", "the shop")


@pytest.mark.parametrize("name", ["pi3", "vggt", "mapanything"])
def test_an_absent_package_is_told_with_its_command(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(name):
        with pytest.raises(WeightsNotFound, match="There is no checkpoint"):
            load_model(name, tmp_path / "gone.pt")
        return
    with pytest.raises(MissingDependency, match=f"'{name}' needs .*{name}. Run: .*pip install"):
        make_estimator(name, GeometryOptions())
    with pytest.raises(MissingDependency, match=f"'{name}' needs .*{name}. Run: .*pip install"):
        load_model(name, tmp_path / "gone.pt")
