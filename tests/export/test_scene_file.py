import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from reconx.errors import InputError
from reconx.export.scene_file import read_scene_file, write_scene_file
from reconx.types import CameraPrior, Gaussians, Scene, SceneSource, Sim3


@pytest.fixture
def full_scene(plane_scene: Scene) -> Scene:
    """A scene in which every field says something that no default says."""
    count = len(plane_scene.photos)
    prior = CameraPrior(
        K=plane_scene.photo_cameras.K,
        focal_sigma=torch.tensor([0.0, 0.05, torch.nan]),
        distortion=torch.full((count, 2), 0.1),
        camera_to_world=plane_scene.photo_cameras.camera_to_world,
    )
    points, valid = plane_scene.points.clone(), plane_scene.valid.clone()
    points[1, :9], valid[1, :9] = torch.nan, False
    masked = plane_scene.photos.valid.clone()
    masked[2, 3] = False
    return replace(
        plane_scene,
        photos=replace(plane_scene.photos, prior=prior, valid=masked),
        points=points,
        valid=valid,
        world_from_scene=Sim3(
            rotation=torch.eye(3), translation=torch.tensor([1.0, 2, 3]), scale=0.1 + 0.2
        ),
        source=SceneSource(
            estimator="stereo",
            checkpoint="none.safetensors",
            licence="MIT",
            seconds={"dense stereo": 1 / 3},
            matches={("view0.png", "view1.png"): 41},
            warnings=("view2.png is dark",),
        ),
    )


def leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    """Every field of nested dataclasses, whichever there are; tensors as their bytes."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name), f"{name}.{field.name}")
    elif isinstance(value, torch.Tensor):
        yield name, (value.dtype, tuple(value.shape), value.numpy().tobytes())
    else:
        yield name, value


def make_gaussians() -> Gaussians:
    values = torch.rand(5, 11, generator=torch.Generator().manual_seed(0))
    return Gaussians(
        means=values[:, :3],
        quats=values[:, 3:7],
        scales=values[:, 7:10],
        opacities=values[:, 10],
        sh=values[:, :3, None].mT.repeat(1, 4, 1),
    )


def test_every_field_comes_back_bit_for_bit(tmp_path: Path, full_scene: Scene) -> None:
    gaussians = make_gaussians()
    write_scene_file(tmp_path / "new" / "a.safetensors", full_scene, gaussians)
    scene, splat = read_scene_file(tmp_path / "new" / "a.safetensors")
    assert dict(leaves(scene, "scene")) == dict(leaves(full_scene, "scene"))
    assert dict(leaves(splat, "gaussians")) == dict(leaves(gaussians, "gaussians"))


def test_what_is_absent_stays_absent(tmp_path: Path, plane_scene: Scene) -> None:
    path = tmp_path / "a.safetensors"
    write_scene_file(path, plane_scene)
    scene, splat = read_scene_file(path)
    assert (scene.photos.prior, splat) == (None, None)
    prior = CameraPrior(K=plane_scene.photo_cameras.K)
    write_scene_file(path, replace(plane_scene, photos=replace(plane_scene.photos, prior=prior)))
    scene, _ = read_scene_file(path)
    assert scene.photos.prior is not None
    assert scene.photos.prior.focal_sigma is None


def test_size_is_that_of_the_tensors(tmp_path: Path, plane_scene: Scene) -> None:
    """Per pixel 12 + 12 + 4 bytes and two masks; what a user may reckon with."""
    path = tmp_path / "a.safetensors"
    write_scene_file(path, plane_scene)
    pixels = plane_scene.confidence.numel()
    assert 30 * pixels < path.stat().st_size < 30 * pixels + 10_000


def test_others_may_read_it_as_any_file(tmp_path: Path, plane_scene: Scene) -> None:
    path, ordinary = tmp_path / "a.safetensors", tmp_path / "ordinary"
    write_scene_file(path, plane_scene)
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


def rewrite(path: Path, drop: str = "", **metadata: str) -> None:
    """Change a scene file's header, or leave a tensor out."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != drop}
        metadata = {**file.metadata(), **metadata}
    save_file(tensors, path, metadata)


def test_files_that_are_no_whole_scene(tmp_path: Path, plane_scene: Scene) -> None:
    path = tmp_path / "a.safetensors"

    def check(text: str) -> None:
        with pytest.raises(InputError, match=text) as error:
            read_scene_file(path)
        assert "a.safetensors" in str(error.value)

    check("a.safetensors' does not exist")
    path.write_bytes(b"PK not safetensors at all")
    check("cannot be read .* Expected a whole safetensors file")
    save_file({"weight": np.zeros(3)}, path)
    check("holds no ReconX scene")
    write_scene_file(path, plane_scene)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    check("cannot be read")
    path.write_bytes(whole)
    rewrite(path, version="2")
    check("has version '2' of the scene format; this ReconX reads up to 1")
    path.write_bytes(whole)
    rewrite(path, drop="scene.up")
    check("is damaged: it lacks 'scene.up'")
    path.write_bytes(whole)
    rewrite(path, facts="{")
    check("is damaged: Expecting property name")
    path.write_bytes(whole)
    with safe_open(path, framework="numpy") as file:
        facts = json.loads(file.metadata()["facts"])
    rewrite(path, facts=json.dumps({**facts, "size": [7, 7]}))
    check("is damaged: Scene.points has shape")


def test_a_file_that_was_read_may_be_replaced(tmp_path: Path, plane_scene: Scene) -> None:
    path = tmp_path / "a.safetensors"
    write_scene_file(path, plane_scene)
    first, _ = read_scene_file(path)
    path.write_bytes(bytes(path.stat().st_size))
    torch.testing.assert_close(first.photos.images, plane_scene.photos.images)
