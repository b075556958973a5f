import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reconx.errors import InputError
from reconx.export.colmap import read_colmap, write_colmap
from reconx.ops.distortion import distort_points
from reconx.ops.projection import project_points, world_to_camera
from reconx.types import Scene


def points_of(scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """Every eleventh point of view 0, in colours of 8 bits."""
    colours = (scene.photos.images[0].flatten(0, 1)[::11] * 255).round() / 255
    return scene.points[0].flatten(0, 1)[::11], colours


def write(folder: Path, scene: Scene) -> None:
    write_colmap(folder, scene.photos, scene.photo_cameras, *points_of(scene))


def convert_to_text(folder: Path) -> None:
    import pycolmap

    model = folder / "sparse" / "0"
    pycolmap.Reconstruction(model).write_text(model)
    for path in model.glob("*.bin"):
        path.unlink()


@pytest.mark.parametrize("text", [False, True])
def test_round_trip(tmp_path: Path, plane_scene: Scene, text: bool) -> None:
    write(tmp_path, plane_scene)
    if text:
        convert_to_text(tmp_path)
    back = read_colmap(tmp_path)
    assert back.posed.names == plane_scene.photos.names
    assert back.posed.masks is None
    for index, camera in enumerate(back.posed.cameras):
        truth = plane_scene.photo_cameras[index]
        torch.testing.assert_close(camera.camera_to_world, truth.camera_to_world)
        torch.testing.assert_close(camera.K, truth.K)
        with Image.open(back.posed.paths[index]) as image:
            assert image.size == (camera.width, camera.height) == (truth.width, truth.height)
    points, colours = points_of(plane_scene)
    torch.testing.assert_close(back.points, points)
    torch.testing.assert_close(back.colours, colours)


def test_pycolmap_sees_the_same_picture(tmp_path: Path, plane_scene: Scene) -> None:
    import pycolmap

    write(tmp_path, plane_scene)
    model = pycolmap.Reconstruction(tmp_path / "sparse" / "0")
    points, colours = points_of(plane_scene)
    assert (model.num_images(), model.num_points3D()) == (3, len(points))
    for number, image in model.images.items():
        index = plane_scene.photos.names.index(image.name)
        assert model.cameras[image.camera_id].model == pycolmap.CameraModelId.PINHOLE
        camera = plane_scene.photo_cameras[index]
        torch.testing.assert_close(
            torch.from_numpy(image.projection_center()).float(), camera.centers[0]
        )
        pixels, _ = project_points(points, camera.viewmats[0], camera.K[0])
        for point in (1, len(points) // 2, len(points)):
            seen = image.project_point(model.points3D[point].xyz)
            np.testing.assert_allclose(seen, pixels[point - 1], atol=1e-3)
        assert number == index + 1
    last = model.points3D[len(points)]
    np.testing.assert_array_equal(last.color, (colours[-1] * 255).round())


def test_a_model_of_colmap_with_tracks(tmp_path: Path, plane_scene: Scene) -> None:
    """Features and tracks are skipped, any numbers do, and SIMPLE_PINHOLE is understood."""
    model = tmp_path / "sparse"
    model.mkdir()
    count = struct.pack("<Q", 1)
    simple = struct.pack("<IiQQ3d", 7, 0, 40, 30, 50.0, 20.5, 15.5)
    (model / "cameras.bin").write_bytes(count + simple)
    features = struct.pack("<Q2dq2dq", 2, 1.0, 2.0, -1, 3.0, 4.0, 9)
    rows = [
        struct.pack("<I7dI", number, 1, 0, 0, 0, shift, 0, 0, 7) + name + b"\0" + features
        for number, shift, name in ((5, 1.0, b"b.jpg"), (3, 0.0, b"a.jpg"))
    ]
    (model / "images.bin").write_bytes(struct.pack("<Q", 2) + b"".join(rows))
    point = struct.pack("<Q3d3BdQ", 9, 1, 2, 3, 255, 0, 51, 0.5, 2)
    track = struct.pack("<4I", 3, 1, 5, 1)
    (model / "points3D.bin").write_bytes(struct.pack("<Q", 2) + 2 * (point + track))
    back = read_colmap(tmp_path)
    assert back.posed.names == ("a.jpg", "b.jpg")
    torch.testing.assert_close(back.posed.cameras[1].centers, torch.tensor([[-1.0, 0, 0]]))
    K = torch.tensor([[50.0, 0, 20.5], [0, 50, 15.5], [0, 0, 1]])
    torch.testing.assert_close(back.posed.cameras[0].K[0], K)
    torch.testing.assert_close(back.points[1], torch.tensor([1.0, 2, 3]))
    torch.testing.assert_close(back.colours[1], torch.tensor([1.0, 0, 0.2]))


def test_masks_are_found_again(tmp_path: Path, plane_scene: Scene) -> None:
    valid = plane_scene.photos.valid.clone()
    valid[1, :5] = False
    write(tmp_path, replace(plane_scene, photos=replace(plane_scene.photos, valid=valid)))
    masks = read_colmap(tmp_path).posed.masks
    assert [path.name for path in masks or ()] == [
        "view0.png.png",
        "view1.png.png",
        "view2.png.png",
    ]


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_file_that_is_cut_short(tmp_path: Path, plane_scene: Scene, name: str) -> None:
    write(tmp_path, plane_scene)
    path = tmp_path / "sparse" / "0" / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=f"{name}' cannot be read .* Expected a whole COLMAP file"):
        read_colmap(tmp_path)


def test_files_that_are_missing(tmp_path: Path, plane_scene: Scene) -> None:
    with pytest.raises(InputError, match="holds no COLMAP model; expected cameras.bin"):
        read_colmap(tmp_path)
    write(tmp_path, plane_scene)
    (tmp_path / "sparse" / "0" / "images.bin").unlink()
    with pytest.raises(InputError, match="images.bin' does not exist"):
        read_colmap(tmp_path)


LENSES = {
    "SIMPLE_PINHOLE": (),
    "SIMPLE_RADIAL": (-0.2,),
    "RADIAL": (-0.2, 0.05),
    "OPENCV": (-0.2, 0.05, 0.01, -0.02),
    "OPENCV_FISHEYE": (0.05, -0.01, 0.003, -0.001),
    "FULL_OPENCV": (0.3, -0.1, 0.005, -0.003, 0.02, 0.4, 0.1, -0.01),
    "SIMPLE_RADIAL_FISHEYE": (0.05,),
    "RADIAL_FISHEYE": (0.05, -0.01),
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
}


def replace_lenses(folder: Path, model: str, *, text: bool) -> None:
    """Have the real COLMAP write the same cameras with another lens."""
    import pycolmap

    place = folder / "sparse" / "0"
    colmap = pycolmap.Reconstruction(place)
    for camera in colmap.cameras.values():
        fx, fy, cx, cy = camera.params
        camera.model = pycolmap.CameraModelId.__members__[model]
        full = camera.params_info.startswith("fx")
        camera.params = [*((fx, fy * 1.1) if full else (fx,)), cx, cy, *LENSES[model]]
    colmap.write_text(place) if text else colmap.write_binary(place)
    if text:
        (place / "cameras.bin").unlink()


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("model", LENSES)
def test_lenses_show_what_colmap_sees(
    tmp_path: Path, plane_scene: Scene, model: str, text: bool
) -> None:
    import pycolmap

    write(tmp_path, plane_scene)
    replace_lenses(tmp_path, model, text=text)
    colmap = pycolmap.Reconstruction(tmp_path / "sparse" / "0")
    posed = read_colmap(tmp_path).posed
    assert posed.lenses is not None
    assert posed.distorted == (model != "SIMPLE_PINHOLE")
    points = plane_scene.points[0].flatten(0, 1)[::97]
    images = {image.name: image for image in colmap.images.values()}
    for name, camera, lens in zip(posed.names, posed.cameras, posed.lenses, strict=True):
        local = world_to_camera(points, camera.viewmats[0])
        pixels = distort_points(local[:, :2] / local[:, 2:], lens) @ camera.K[0, :2, :2].mT
        expected = [images[name].project_point(point) for point in points.double().numpy()]
        np.testing.assert_allclose(pixels + camera.K[0, :2, 2], expected, atol=1e-3)


def test_unknown_lenses_are_refused(tmp_path: Path, plane_scene: Scene) -> None:
    write(tmp_path, plane_scene)
    path = tmp_path / "sparse" / "0" / "cameras.bin"
    path.write_bytes(struct.pack("<QIiQQ5d", 1, 1, 7, 96, 72, 84, 84, 48, 36, 0.1))
    with pytest.raises(InputError, match="camera 1 has lens model 7; expected one of SIMPLE_PINH"):
        read_colmap(tmp_path)
    write(tmp_path, plane_scene)
    convert_to_text(tmp_path)
    path = path.with_suffix(".txt")
    path.write_text("1 FOV 96 72 84 84 48 36 0.1\n", encoding="utf-8")
    with pytest.raises(InputError, match="lens model FOV; .* image_undistorter"):
        read_colmap(tmp_path)
    path.write_text("1 OPENCV 96 72 84 84 48 36 0.1\n", encoding="utf-8")
    with pytest.raises(InputError, match="camera 1 has 5 parameters"):
        read_colmap(tmp_path)


def test_an_image_without_its_camera(tmp_path: Path, plane_scene: Scene) -> None:
    write(tmp_path, plane_scene)
    path = tmp_path / "sparse" / "0" / "cameras.bin"
    path.write_bytes(struct.pack("<Q", 0))
    with pytest.raises(InputError, match="image 'view0.png' has camera 1, which is missing"):
        read_colmap(tmp_path)
