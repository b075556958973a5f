import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reconx.errors import InputError
from reconx.export.nerfstudio import (
    read_splits,
    read_transforms,
    write_posed_photos,
    write_transforms,
)
from reconx.export.pictures import photo_rectangle
from reconx.export.posed import PosedPhotos, read_depth
from reconx.ops.photos import resize_photos
from reconx.photos.loading import photos_from_images
from reconx.types import Cameras, LensDistortion, Photos

DATA = Path(__file__).resolve().parents[3] / "shared/data/photos"
INTRINSICS = {"fl_x": 50.0, "fl_y": 51.0, "cx": 20.0, "cy": 15.0, "w": 40, "h": 30}
POSE = torch.eye(4).tolist()


def make_photos() -> tuple[Photos, Cameras]:
    """A wide and a tall photo, padded to one size, and their cameras."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(h, w, 3, generator=generator) for w, h in ((40, 20), (20, 30))]
    photos = photos_from_images(images, names=["wide.png", "tall.heic"])
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.3, 0.2], [0.3, 0, -0.1], [-0.2, 0.1, 0]]))
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, :3, :3], poses[1, :3, 3] = turn, torch.tensor([1.0, 2, 3])
    K = torch.tensor(
        [[[50.0, 0, 20], [0, 51, 10], [0, 0, 1]], [[50, 0, 10], [0, 50, 15], [0, 0, 1]]]
    )
    return photos, Cameras(camera_to_world=poses, K=K, width=40, height=30)


def test_posed_photos_round_trip(tmp_path):
    photos, cameras = make_photos()
    write_posed_photos(tmp_path, photos, cameras, ply_file_path="points.ply")
    back = read_transforms(tmp_path)
    assert back.names == ("wide.png", "tall.heic.png")
    assert back.masks is None
    assert [(camera.width, camera.height) for camera in back.cameras] == [(40, 20), (20, 30)]
    for index, camera in enumerate(back.cameras):
        torch.testing.assert_close(camera.camera_to_world, cameras.camera_to_world[[index]])
        torch.testing.assert_close(camera.K, cameras.K[[index]])
        with Image.open(back.paths[index]) as image:
            assert image.size == (camera.width, camera.height)
    document = json.loads((tmp_path / "transforms.json").read_text(encoding="utf-8"))
    assert document["ply_file_path"] == "points.ply"
    assert document["frames"][0]["file_path"] == "images/wide.png"


def test_axes_in_the_file_are_opengl(tmp_path):
    photos, cameras = make_photos()
    write_posed_photos(tmp_path, photos, cameras)
    document = json.loads((tmp_path / "transforms.json").read_text(encoding="utf-8"))
    # Our camera looks along +Z with +Y down; OpenGL's along -Z with +Y up, from the same place.
    matrix = torch.tensor(document["frames"][1]["transform_matrix"])
    pose = cameras.camera_to_world[1]
    torch.testing.assert_close(matrix @ torch.tensor([0.0, 0, -1, 0]), pose[:, 2])
    torch.testing.assert_close(matrix @ torch.tensor([0.0, 1, 0, 0]), -pose[:, 1])
    torch.testing.assert_close(matrix[:, 3], pose[:, 3])


def test_masks_are_written_for_all_photos_or_none(tmp_path):
    photos, cameras = make_photos()
    valid = photos.valid.clone()
    valid[1, :5] = False
    posed = write_posed_photos(tmp_path, replace(photos, valid=valid), cameras)
    assert [path.name for path in posed.masks] == ["wide.png.png", "tall.heic.png.png"]
    assert read_transforms(tmp_path).masks == posed.masks
    with Image.open(posed.masks[1]) as mask:
        assert mask.size == (20, 30)
        assert (mask.getpixel((3, 4)), mask.getpixel((3, 5))) == (0, 255)


def test_rectangle_leaves_out_pixels_that_mix_with_padding():
    photos, _ = make_photos()
    small = resize_photos(photos, 13, 10)
    assert photo_rectangle(small, 0) == (0, 0, 13, 6)  # 20 of 30 rows on 10: 6.67
    assert photo_rectangle(small, 1) == (0, 0, 6, 10)  # 20 of 40 columns on 13: 6.5


def test_cropping_moves_the_principal_point(tmp_path):
    photos, cameras = make_photos()
    # The same photo padded at the left by 8 pixels instead.
    shift = torch.tensor([[1.0, 0, 8], [0, 1, 0], [0, 0, 1]])
    moved = replace(photos, to_original=photos.to_original @ torch.linalg.inv(shift))
    moved = replace(moved, valid=torch.ones_like(photos.valid))
    posed = write_posed_photos(tmp_path, moved, replace(cameras, K=shift @ cameras.K))
    torch.testing.assert_close(posed.cameras[1].K, cameras.K[[1]])
    assert posed.cameras[1].width == 20


def write_document(path: Path, **document: object) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_shared_intrinsics_and_overrides(tmp_path):
    frames = [
        {"file_path": "images/a.jpg", "transform_matrix": POSE},
        {"file_path": "images/b.jpg", "transform_matrix": POSE, "w": 80, "fl_x": 99.0},
    ]
    path = write_document(tmp_path / "transforms.json", **INTRINSICS, k1=0.0, frames=frames)
    posed = read_transforms(path)
    assert [camera.width for camera in posed.cameras] == [40, 80]
    assert [float(camera.K[0, 0, 0]) for camera in posed.cameras] == [50, 99]
    assert posed.paths[0] == tmp_path / "images/a.jpg"
    forward = posed.cameras[0].camera_to_world[0, :3, 2]
    torch.testing.assert_close(forward, torch.tensor([0.0, 0, -1]))


def test_lenses_may_differ_between_frames(tmp_path):
    bent = {"k1": -0.1, "k2": 0.02, "k3": 0.001, "p1": 0.003, "p2": -0.004}
    fisheye = {"camera_model": "OPENCV_FISHEYE", "k3": 0.3, "k4": -0.4, "p1": 0.0, "p2": 0.0}
    frames = [
        {"file_path": f"{index}.jpg", "transform_matrix": POSE, **lens}
        for index, lens in enumerate(({}, bent, fisheye))
    ]
    path = write_document(tmp_path / "transforms.json", **INTRINSICS, frames=frames)
    posed = read_transforms(path)
    assert posed.distorted
    assert posed.lenses is not None
    assert not posed.lenses[0].bends
    assert posed.lenses[1] == LensDistortion(
        radial=(-0.1, 0.02, 0.001), divisor=(0.0, 0.0, 0.0), tangential=(0.003, -0.004)
    )
    assert posed.lenses[2] == LensDistortion(radial=(0.0, 0.0, 0.3, -0.4), fisheye=True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"fl_x": None}, r"frame 0 \(a.jpg\): 'fl_x' is missing; expected a positive number"),
        ({"cx": "left"}, "'cx' is left; expected a number"),
        ({"w": 0}, "'w' is 0; expected a positive number"),
        ({"k1": "much"}, "'k1' is much; expected a number"),
        ({"k4": 0.1}, "lens distortion 'k4' is 0.1; expected 0 for 'camera_model' OPENCV"),
        (
            {"p2": 0.1, "camera_model": "OPENCV_FISHEYE"},
            "lens distortion 'p2' is 0.1; expected 0 for 'camera_model' OPENCV_FISHEYE",
        ),
        (
            {"camera_model": "EQUIRECTANGULAR"},
            "'camera_model' is EQUIRECTANGULAR; expected OPENCV, .* Undistort the photos first",
        ),
        ({"file_path": 3}, "frame 0: 'file_path' is missing"),
        ({"transform_matrix": [[1, 0], [0, 1]]}, "'transform_matrix' is no 4 x 4 matrix"),
        ({"transform_matrix": "none"}, "'transform_matrix' is no 4 x 4 matrix"),
        ({"transform_matrix": (2 * torch.eye(4)).tolist()}, "'transform_matrix' is no rigid pose"),
    ],
)
def test_errors_name_frame_and_key(tmp_path, change, text):
    frame = {"file_path": "a.jpg", "transform_matrix": POSE, **INTRINSICS, **change}
    path = write_document(tmp_path / "transforms.json", frames=[frame])
    with pytest.raises(InputError, match=text) as error:
        read_transforms(path)
    assert "transforms.json" in str(error.value)


def test_errors_of_whole_files(tmp_path):
    with pytest.raises(InputError, match="transforms.json' does not exist"):
        read_transforms(tmp_path)
    (tmp_path / "transforms.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="transforms.json' is not JSON"):
        read_transforms(tmp_path)
    write_document(tmp_path / "transforms.json", frames=[])
    with pytest.raises(InputError, match="has no list 'frames'"):
        read_transforms(tmp_path)
    photos, cameras = make_photos()
    with pytest.raises(InputError, match="1 cameras of 40 x 30 pixels cannot belong to 2 photos"):
        write_posed_photos(tmp_path, photos, cameras[0])


def test_files_elsewhere_keep_their_full_path(tmp_path):
    _, cameras = make_photos()
    elsewhere = tmp_path / "photos/a.jpg"
    path = tmp_path / "result/transforms.json"
    write_transforms(path, PosedPhotos(paths=(elsewhere,), cameras=(cameras[0],)))
    assert read_transforms(path).paths == (elsewhere,)


def test_splits(tmp_path):
    path = write_document(tmp_path / "splits.json", two={"context": ["a", "b"], "targets": ["c"]})
    split = read_splits(tmp_path)["two"]
    assert (split.context, split.targets) == (("a", "b"), ("c",))
    write_document(path, two={"context": ["a"], "targets": ["c"]})
    with pytest.raises(InputError, match="split 'two': 'context' names 1 photos"):
        read_splits(path)
    write_document(path, two={"context": "a"})
    with pytest.raises(InputError, match="split 'two': 'context' is no list of file names"):
        read_splits(path)


def test_development_photos():
    if not DATA.is_dir():
        pytest.skip(f"no development photos in {DATA}")
    for scene in ("herz-jesus-p8", "hololens-000"):
        posed = read_transforms(DATA / scene)
        assert all(path.is_file() for path in posed.paths)
        for split in read_splits(DATA / scene).values():
            assert {*split.context, *split.targets} <= set(posed.names)


def test_depth_pictures_are_read_in_world_units(tmp_path: Path) -> None:
    posed = PosedPhotos(paths=(tmp_path / "a.png",), cameras=(make_photos()[1][0],))
    write_transforms(tmp_path / "transforms.json", posed)
    document = json.loads((tmp_path / "transforms.json").read_text(encoding="utf-8"))
    document["frames"][0]["depth_file_path"] = "depth/a.png"
    document["depth_unit_scale_factor"] = 0.01
    (tmp_path / "transforms.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "depth").mkdir()
    steps = np.array([[0, 150], [40_000, 1]], dtype=np.uint16)
    Image.fromarray(steps).save(tmp_path / "depth" / "a.png")
    depth = read_depth(read_transforms(tmp_path), 0)
    torch.testing.assert_close(depth, torch.tensor([[0.0, 1.5], [400.0, 0.01]]))
