"""Datasets as they lie on disk, in tiny: what is read, and what a wrong file is called."""

import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from reconx.datasets.chunks import ChunkFolder
from reconx.datasets.nerfstudio import NerfstudioFolders
from reconx.errors import InputError, UnsafeCheckpoint
from reconx.evaluation.datasets.index import read_index
from reconx.ops.photos import crop_photos
from reconx.ops.se3 import se3_exp

WIDTH, HEIGHT = 64, 36
SHADES = (30, 90, 150, 210)
Example = dict[str, Any]


def encoded(shade: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Tensor:
    file = io.BytesIO()
    Image.new("RGB", size, (shade, 255 - shade, 128)).save(file, "JPEG", quality=95)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def viewmats(count: int) -> Tensor:
    steps = torch.arange(count)[:, None]
    return se3_exp(steps * torch.tensor([0.02, -0.05, 0.01, 0.3, 0.1, -0.2]))


def example(key: str) -> Example:
    cameras = torch.zeros(len(SHADES), 18)
    cameras[:, :4] = torch.tensor([0.5, 0.9, 0.48, 0.52])
    cameras[:, 6:] = viewmats(len(SHADES))[:, :3].flatten(1)
    return {
        "key": key,
        "images": [encoded(shade) for shade in SHADES],
        "cameras": cameras,
        "timestamps": torch.arange(len(SHADES)),
    }


@pytest.fixture
def chunks(tmp_path: Path) -> Path:
    """Three scenes in two files, in a folder named "test" as the datasets have it."""
    folder = tmp_path / "re10k" / "test"
    folder.mkdir(parents=True)
    torch.save([example("b"), example("c")], folder / "000000.torch")
    torch.save([example("a")], folder / "000001.torch")
    files = {"a": "000001.torch", "b": "000000.torch", "c": "000000.torch"}
    (folder / "index.json").write_text(json.dumps(files), encoding="utf-8")
    return folder.parent


def test_a_chunk_gives_pictures_and_cameras(chunks: Path) -> None:
    data = ChunkFolder(chunks)
    assert data.scenes() == ("b", "c", "a")  # file by file
    assert ChunkFolder(chunks / "test").scenes() == data.scenes()
    photos = data.read("c", (1, 3))
    assert photos.names == ("frame-1", "frame-3")
    assert (photos.width, photos.height) == (WIDTH, HEIGHT)
    for image, shade in zip(photos.images, (90, 210), strict=True):
        colour = torch.tensor([shade, 255 - shade, 128]) / 255
        torch.testing.assert_close(image.mean((0, 1)), colour, atol=0.01, rtol=0)
    assert photos.prior is not None
    K = torch.tensor([[32, 0, 0.48 * 64], [0, 32.4, 0.52 * 36], [0, 0, 1]])
    torch.testing.assert_close(photos.prior.K, K.repeat(2, 1, 1))
    poses = torch.linalg.inv(viewmats(4))[[1, 3]]
    torch.testing.assert_close(photos.prior.camera_to_world, poses)


def test_the_middle_square_keeps_its_cameras(chunks: Path) -> None:
    photos = ChunkFolder(chunks).read("a", (0, 1))
    square = crop_photos(photos, 18, 18)
    assert square.images.shape == (2, 18, 18, 3)
    assert square.prior is not None
    # Half the size, and 7 columns less on the left.
    K = torch.tensor([[16, 0, 0.24 * 64 - 7], [0, 16.2, 0.26 * 36], [0, 0, 1]])
    torch.testing.assert_close(square.prior.K, K.repeat(2, 1, 1))
    corner = square.to_original[0] @ torch.tensor([0.0, 0, 1])
    torch.testing.assert_close(corner, torch.tensor([14.0, 0, 1]))


def test_a_video_may_stand_still(chunks: Path) -> None:
    put("images", [encoded(SHADES[0])] * 4)(chunks / "test")
    photos = ChunkFolder(chunks).read("c", (1, 3))
    assert torch.equal(photos.images[0], photos.images[1])


def edit_c(edit: Callable[[Example], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        scene = example("c")
        edit(scene)
        torch.save([example("b"), scene], folder / "000000.torch")

    return damage


def put(key: str, value: object) -> Callable[[Path], None]:
    return edit_c(lambda scene: scene.__setitem__(key, value))


def damage_image(data: Tensor) -> Callable[[Path], None]:
    return edit_c(lambda scene: scene["images"].__setitem__(3, data))


def cut(name: str, share: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(share * len(data))])

    return damage


def mirrored() -> Tensor:
    cameras = example("c")["cameras"]
    cameras[3, 6:9] *= 2
    return cameras


class Code:
    """What no data set needs."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def save_code(folder: Path) -> None:
    (folder / "000000.torch").write_bytes(pickle.dumps([Code()], protocol=2))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda folder: (folder / "index.json").unlink(), "index.json' does not exist"),
        (cut("index.json", 0.5), "index.json' is not JSON"),
        (lambda folder: (folder / "index.json").write_text("[1]"), "no list of files by scene"),
        (lambda folder: (folder / "000000.torch").unlink(), "000000.torch' does not exist"),
        (cut("000000.torch", 0), "Chunk '000000.torch' cannot be read"),
        (cut("000000.torch", 0.6), "Chunk '000000.torch' cannot be read: it is cut short"),
        (lambda folder: torch.save({"a": 1}, folder / "000000.torch"), "no list of scenes"),
        (
            lambda folder: torch.save([example("b")], folder / "000000.torch"),
            "'c': it is not in this file",
        ),
        (put("images", []), "it has 0 images and cameras of .4, 18."),
        (put("cameras", torch.zeros(4, 17)), "it has 4 images and cameras of .4, 17."),
        (put("cameras", torch.zeros(3, 18)), "it has 4 images and cameras of .3, 18."),
        (put("cameras", None), "cameras of NoneType"),
        (put("cameras", mirrored()), "scene 'c': a camera is no rigid pose"),
        (put("cameras", torch.full((4, 18), torch.nan)), "a camera is no rigid pose"),
        (damage_image(torch.zeros(0, dtype=torch.uint8)), "frame 3: its image is damaged or empty"),
        (damage_image(encoded(210)[:300]), "'c', frame 3: its image is damaged or empty"),
        (damage_image(torch.zeros(4, 4)), "'c', frame 3: its image is no row of bytes"),
        (damage_image(encoded(210, (60, 36))), "'c': its frames differ in size"),
    ],
)
def test_a_damaged_chunk_is_named(chunks: Path, damage: Callable[[Path], None], text: str) -> None:
    damage(chunks / "test")
    with pytest.raises(InputError, match=text):
        ChunkFolder(chunks).read("c", (1, 3))


def test_a_chunk_that_would_run_code_does_not(
    chunks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_code(chunks / "test")
    with pytest.raises(UnsafeCheckpoint, match=r"Chunk '000000.torch' holds pickled code"):
        ChunkFolder(chunks).read("c", (1, 3))
    assert capsys.readouterr().out == ""


def test_a_frame_beyond_the_end_is_named(chunks: Path) -> None:
    with pytest.raises(InputError, match="Scene 'a' has 4 frames, but .* asks for frame 4"):
        ChunkFolder(chunks).read("a", (0, 4))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """One scene whose pictures are there at half size only, and whose frames are not in order."""
    scene = tmp_path / "dl3dv" / "0123abcd" / "nerfstudio"
    (scene / "images_2").mkdir(parents=True)
    poses = torch.linalg.inv(viewmats(4)) * torch.tensor([1.0, -1, -1, 1])
    frames = []
    for number in (2, 0, 3, 1):
        name = f"frame_{number + 1:05d}.png"
        picture = Image.new("RGB", (WIDTH, HEIGHT), (SHADES[number], 0, 0))
        picture.save(scene / "images_2" / name)
        frames.append({"file_path": f"images/{name}", "transform_matrix": poses[number].tolist()})
    document = {"w": 128, "h": 72, "fl_x": 100, "fl_y": 100, "cx": 64, "cy": 36}
    lens = {"camera_model": "OPENCV", "k1": -0.1, "k2": 0.0, "p1": 0.0, "p2": 0.0}
    text = json.dumps({**document, **lens, "frames": frames})
    (scene / "transforms.json").write_text(text, encoding="utf-8")
    return tmp_path / "dl3dv"


def test_nerfstudio_folders_give_pinhole_pictures_in_order_of_names(folders: Path) -> None:
    data = NerfstudioFolders(folders)
    assert data.scenes() == ("0123abcd",)
    photos = data.read("0123abcd", (0, 3))
    assert photos.names == ("frame_00001.png", "frame_00004.png")
    middle = photos.images[:, HEIGHT // 2, WIDTH // 2, 0]
    torch.testing.assert_close(middle, torch.tensor([30.0, 210]) / 255, atol=1e-3, rtol=0)
    assert photos.prior is not None
    K = torch.tensor([[50.0, 0, 32], [0, 50, 18], [0, 0, 1]])
    torch.testing.assert_close(photos.prior.K, K.repeat(2, 1, 1))
    poses = torch.linalg.inv(viewmats(4))[[0, 3]]
    torch.testing.assert_close(photos.prior.camera_to_world, poses)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda scene: (scene / "transforms.json").unlink(), "no folder with a transforms.json"),
        (lambda scene: (scene / "transforms.json").write_text("{"), "is not JSON"),
        (lambda scene: (scene / "transforms.json").write_text("{}"), "has no list 'frames'"),
        (lambda scene: shutil.rmtree(scene / "images_2"), "frame_00001.png' does not exist"),
        (lambda scene: (scene / "images_2/frame_00001.png").write_bytes(b""), "is empty"),
        (
            lambda scene: Image.new("RGB", (40, 40)).save(scene / "images_2/frame_00001.png"),
            "has 40 x 40 pixels and its camera 128 x 72: another shape",
        ),
    ],
)
def test_a_damaged_folder_is_named(
    folders: Path, damage: Callable[[Path], object], text: str
) -> None:
    damage(folders / "0123abcd" / "nerfstudio")
    with pytest.raises(InputError, match=text):
        NerfstudioFolders(folders).read("0123abcd", (0, 3))


def test_an_index_leaves_out_what_is_null(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text('{"a": null, "b": {"context": [7, 2], "target": [3, 7]}}', encoding="utf-8")
    (split,) = read_index(path).values()
    assert (split.context, split.targets, split.frames) == ((7, 2), (3, 7), (2, 3, 7))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not exist"),
        ("", "is not JSON"),
        ("[]", "holds no JSON object"),
        ('{"a": null}', "names no scene with frames"),
        ('{"a": 3}', "scene 'a': 'context' is None"),
        ('{"a": {"context": [1], "target": [2]}}', "'context' is .1.; expected .* at least 2"),
        ('{"a": {"context": [1, 1], "target": [2]}}', "each once"),
        ('{"a": {"context": [1, 3], "target": []}}', "'target' is ..; expected .* at least 1"),
        ('{"a": {"context": [1, -3], "target": [2]}}', "'context' is .1, -3."),
        ('{"a": {"context": [1, 2.5], "target": [2]}}', "'context' is .1, 2.5."),
    ],
)
def test_a_wrong_index_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "index.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_index(path)


def test_frames_are_counted(chunks: Path) -> None:
    assert ChunkFolder(chunks).length("c") == len(SHADES)
