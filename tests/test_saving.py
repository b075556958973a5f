"""Saved scenes come back, and folders of other programs give photos with known cameras."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from reconx.errors import InputError
from reconx.export.colmap import write_colmap
from reconx.export.nerfstudio import read_transforms, write_posed_photos
from reconx.export.ply import read_points_ply
from reconx.export.posed import read_depth
from reconx.export.splat_files import write_splats
from reconx.geometry.estimators.base import GeometryOptions
from reconx.geometry.estimators.registry import make_estimator
from reconx.ops.photos import select_photos
from reconx.ops.projection import inside_image, pixel_centres, sample_image
from reconx.ops.se3 import so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.photos.loading import PhotoOptions, load_photos
from reconx.progress import SilentProgress
from reconx.saving import FORMATS, find_scenes, load_scene, save_scene
from reconx.types import Cameras, Gaussians, Photos, Scene, Sim3

ROOM = Path(__file__).resolve().parents[1] / "assets" / "sample-room"


@pytest.fixture
def scene(plane_scene: Scene) -> Scene:
    """A scene whose world is not its own frame."""
    world = Sim3(
        rotation=so3_exp(torch.tensor([0.2, -0.4, 0.1])),
        translation=torch.tensor([3.0, -1, 2]),
        scale=2.5,
    )
    return replace(plane_scene, world_from_scene=world)


@pytest.fixture
def gaussians() -> Gaussians:
    return Gaussians(
        means=torch.tensor([[1.0, 2, 3], [4, 5, 6]]),
        quats=torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0]]),
        scales=torch.tensor([[0.1, 0.2, 0.3], [1, 2, 3]]),
        opacities=torch.tensor([0.5, 0.9]),
        sh=torch.arange(24.0).reshape(2, 4, 3) / 24,
    )


@pytest.mark.parametrize("format", FORMATS)
def test_a_saved_scene_comes_back(
    tmp_path: Path, scene: Scene, gaussians: Gaussians, format: str
) -> None:
    path = save_scene(tmp_path / "new" / "room_1", scene, format, gaussians)
    assert find_scenes(tmp_path) == [path]
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    back = load_scene(path)
    assert back.scene is not None
    assert torch.equal(back.scene.points, scene.points)
    assert torch.equal(back.scene.photos.images, scene.photos.images)
    assert back.scene.world_from_scene.scale == scene.world_from_scene.scale
    assert back.gaussians is not None
    for name in ("means", "quats", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(back.gaussians, name), getattr(gaussians, name))
    world = apply_sim3_to_cameras(scene.world_from_scene, scene.photo_cameras)
    assert back.photos.prior is not None
    torch.testing.assert_close(back.photos.prior.camera_to_world, world.camera_to_world)
    without = save_scene(tmp_path / "room_2", scene, format)
    assert load_scene(without).gaussians is None


@pytest.mark.parametrize("format", ["nerfstudio", "colmap"])
def test_folders_of_other_programs_give_photos_in_their_world(
    tmp_path: Path, scene: Scene, gaussians: Gaussians, format: str
) -> None:
    valid = scene.photos.valid.clone()
    valid[1, :5] = False
    scene = replace(scene, photos=replace(scene.photos, valid=valid))
    folder = save_scene(tmp_path / "room", scene, format, gaussians)
    (folder / "scene.safetensors").unlink()
    back = load_scene(folder)
    assert back.scene is None
    assert back.gaussians is not None
    assert back.photos.names == scene.photos.names
    assert torch.equal(back.photos.valid, valid)
    torch.testing.assert_close(back.photos.images, scene.photos.images, atol=0.6 / 255, rtol=0)
    world = apply_sim3_to_cameras(scene.world_from_scene, scene.photo_cameras)
    prior = back.photos.prior
    assert prior is not None
    torch.testing.assert_close(prior.camera_to_world, world.camera_to_world)
    torch.testing.assert_close(prior.K, world.K)
    assert prior.focal_sigma is not None
    assert not prior.focal_sigma.any()


def test_a_splat_that_an_editor_left_in_a_folder_is_taken(
    tmp_path: Path, scene: Scene, gaussians: Gaussians
) -> None:
    folder = save_scene(tmp_path / "room", scene, "colmap", gaussians)
    edited = replace(gaussians, means=gaussians.means + 1)
    write_splats(folder / "splats", edited, ("spz", "splat"))
    assert read_means(folder)[0, 0] == 1  # of splats.ply, which holds most
    (folder / "splats.ply").unlink()
    assert read_means(folder)[0, 0] == pytest.approx(2, abs=1e-6)
    (folder / "splats.spz").write_bytes(b"hello")
    with pytest.raises(InputError, match="splats.spz' cannot be read"):
        load_scene(folder)
    (folder / "splats.spz").unlink()
    assert read_means(folder)[0, 0] == 2


def read_means(folder: Path) -> Tensor:
    saved = load_scene(folder).gaussians
    assert saved is not None
    return saved.means


def test_geometry_keeps_the_cameras_of_a_folder(tmp_path: Path) -> None:
    """Poses, K, place and metres: from nerfstudio through dense stereo to COLMAP, and once more."""
    photos = select_photos(load_scene(ROOM, options=PhotoOptions(max_size=320)).photos, [0, 1, 2])
    built = build(photos)
    assert built.photos.names == photos.names
    assert_given(built, photos)
    folder = save_scene(tmp_path / "room", built, "colmap")
    (folder / "scene.safetensors").unlink()
    again = load_scene(folder).photos
    assert_given(build(again), photos)
    assert depth_error(built) < 0.02


@pytest.mark.parametrize("format", ["nerfstudio", "colmap"])
def test_photos_with_lens_distortion_are_measured_with_true_cameras(
    tmp_path: Path, format: str
) -> None:
    pinhole = load_scene(ROOM, options=PhotoOptions(max_size=320)).photos
    write_bent_room(tmp_path, pinhole, format)
    photos = load_scene(tmp_path).photos
    assert photos.prior is not None
    assert pinhole.prior is not None
    torch.testing.assert_close(photos.prior.K, pinhole.prior.K)
    torch.testing.assert_close(photos.prior.camera_to_world, pinhole.prior.camera_to_world)
    bent = load_photos([tmp_path / "images" / name for name in photos.names])
    left, before = (
        float((shown - pinhole.images).abs()[photos.valid].mean())
        for shown in (photos.images, bent.images)
    )
    assert left < 0.3 * before
    assert 0.9 < float(photos.valid.float().mean()) < 1
    built = build(photos)
    assert_given(built, pinhole)
    assert depth_error(built) < 0.02


def write_bent_room(folder: Path, pinhole: Photos, format: str) -> None:
    """The sample room as a lens of COLMAP's model OPENCV takes it, with that lens written down."""
    import pycolmap

    assert pinhole.prior is not None
    assert pinhole.prior.K is not None
    assert pinhole.prior.camera_to_world is not None
    width, height = pinhole.width, pinhole.height
    fx, fy, cx, cy = (float(pinhole.prior.K[0, i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    bent = {"k1": -0.15, "k2": 0.03, "p1": 0.004, "p2": -0.006}
    lens = pycolmap.Camera(
        model="OPENCV", width=width, height=height, params=[fx, fy, cx, cy, *bent.values()]
    )
    rays = lens.cam_from_img(pixel_centres(width, height).double().flatten(0, 1).numpy())
    pixels = torch.from_numpy(rays).float() * torch.tensor([fx, fy]) + torch.tensor([cx, cy])
    pixels = pixels.reshape(height, width, 2)
    cameras = Cameras(
        camera_to_world=pinhole.prior.camera_to_world, K=pinhole.prior.K, width=width, height=height
    )
    images = torch.stack([sample_image(image, pixels, mode="bicubic") for image in pinhole.images])
    valid = inside_image(pixels, width, height).expand_as(pinhole.valid)
    photos = replace(pinhole, images=images.clamp(0, 1), valid=valid)
    if format == "nerfstudio":
        write_posed_photos(folder, photos, cameras)
        path = folder / "transforms.json"
        document = {**json.loads(path.read_text(encoding="utf-8")), "camera_model": "OPENCV"}
        path.write_text(json.dumps({**document, **bent}), encoding="utf-8")
        return
    write_colmap(folder, photos, cameras, torch.zeros(1, 3), torch.zeros(1, 3))
    model = pycolmap.Reconstruction(folder / "sparse" / "0")
    for camera in model.cameras.values():
        camera.model, camera.params = lens.model, lens.params
    model.write(folder / "sparse" / "0")


def depth_error(built: Scene) -> float:
    """Of the first photo of the sample room: the median share by which its depth in metres errs."""
    truth = read_transforms(ROOM)
    metres = read_depth(truth, truth.names.index(built.photos.names[0]))[None]
    seen = built.measured[0]
    height, width = seen.shape
    metres = functional.interpolate(metres[None], (height, width), mode="nearest-exact")[0, 0]
    found = built.points[0, ..., 2] * built.world_from_scene.scale
    return float((found / metres - 1)[seen].abs().median())


def build(photos: Photos) -> Scene:
    options = GeometryOptions(fit_size=128, geometry_size=64)
    return make_estimator("stereo", options).estimate(photos, SilentProgress())


def assert_given(built: Scene, photos: Photos) -> None:
    """The cameras that come out are those that went in."""
    assert photos.prior is not None
    assert photos.prior.K is not None
    assert photos.prior.camera_to_world is not None
    world = apply_sim3_to_cameras(built.world_from_scene, built.photo_cameras)
    torch.testing.assert_close(
        world.camera_to_world, photos.prior.camera_to_world, atol=1e-4, rtol=0
    )
    scale = torch.tensor([world.width / photos.width, world.height / photos.height, 1.0])
    torch.testing.assert_close(world.K, photos.prior.K * scale[:, None], atol=1e-3, rtol=1e-5)


def test_photos_that_are_shrunk_keep_true_cameras(tmp_path: Path, scene: Scene) -> None:
    folder = save_scene(tmp_path / "room", scene, "nerfstudio")
    (folder / "scene.safetensors").unlink()
    prior = load_scene(folder, options=PhotoOptions(max_size=48)).photos.prior
    assert prior is not None
    torch.testing.assert_close(prior.K, scene.photo_cameras.resized(48, 36).K)


def test_points_are_written_in_the_users_world(tmp_path: Path, scene: Scene) -> None:
    folder = save_scene(tmp_path / "room", scene, "nerfstudio")
    points, _, confidence = read_points_ply(folder / "points.ply")
    expected = apply_sim3_to_points(scene.world_from_scene, scene.points.reshape(-1, 3))
    torch.testing.assert_close(points, expected)
    assert confidence is not None


def test_folders_of_scenes_are_found_and_not_searched(tmp_path: Path, scene: Scene) -> None:
    places = ["b/one", "a/two", "c/d/e/three"]
    formats = ["nerfstudio", "safetensors", "colmap"]
    saved = [save_scene(tmp_path / p, scene, f) for p, f in zip(places, formats, strict=True)]
    save_scene(tmp_path / "too/deep/to/be/found", scene, "safetensors")
    assert find_scenes(tmp_path) == sorted(saved)
    assert find_scenes(tmp_path / "nowhere") == []


def test_errors(tmp_path: Path, scene: Scene) -> None:
    with pytest.raises(InputError, match="Scene format 'obj' is unknown. Choose one of: safetens"):
        save_scene(tmp_path / "room", scene, "obj")
    with pytest.raises(InputError, match="holds no scene; expected scene.safetensors, transforms"):
        load_scene(tmp_path)
    with pytest.raises(InputError, match="nothing.safetensors' does not exist"):
        load_scene(tmp_path / "nothing.safetensors")
    folder = save_scene(tmp_path / "room", scene, "nerfstudio")
    with pytest.raises(InputError, match="room' already exists"):
        save_scene(tmp_path / "room", scene, "nerfstudio")
    (folder / "scene.safetensors").unlink()
    Image.new("RGB", (48, 36)).save(folder / "images" / "view1.png")
    with pytest.raises(InputError, match="view1.png has 48 x 36 pixels, but its camera has 96 x 7"):
        load_scene(folder)


def test_a_failed_save_leaves_nothing(tmp_path: Path, scene: Scene, gaussians: Gaussians) -> None:
    bad = replace(gaussians, means=torch.full((2, 3), torch.nan))
    with pytest.raises(InputError, match="not finite"):
        save_scene(tmp_path / "room", scene, "nerfstudio", bad)
    assert list(tmp_path.iterdir()) == []
