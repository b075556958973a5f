"""The main job on the sample room, small: from photo files to files that other programs open."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lpips_files import heads, trunk
from PIL import Image

from reconx.cli import main
from reconx.errors import InputError
from reconx.evaluation.protocol import evaluate_split
from reconx.evaluation.report import save_evaluation
from reconx.export.nerfstudio import read_transforms
from reconx.export.ply import read_gaussians_ply, read_points_ply
from reconx.export.splat_files import read_splats
from reconx.ops.metrics import psnr
from reconx.pipeline import ReconstructOptions
from reconx.render.gaussians import render_gaussians

ROOM = Path(__file__).resolve().parents[1] / "assets" / "sample-room"
SMALL = ["--quality", "draft", "--size", "192", "--frames", "5", "--steps", "40"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two photos of the room at half their size, EXIF and all."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("left.jpg", "middle.jpg"):
        photo = Image.open(ROOM / "images" / name)
        photo.resize((512, 384)).save(folder / name, quality=95, exif=photo.getexif())
    return [str(folder / "left.jpg"), str(folder / "middle.jpg")]


@pytest.fixture(scope="module")
def result(photos: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small reconstruction of two photos, one of which has a mask, all white."""
    room = tmp_path_factory.mktemp("room")
    folder, masks = room / "result", room / "masks"
    masks.mkdir()
    Image.new("L", (512, 384), 255).save(masks / "left.png")
    where = ["--output", str(folder), "--masks", str(masks)]
    assert main(["reconstruct", *photos, *where, *SMALL]) == 0
    return folder


def test_every_file_is_there(result: Path) -> None:
    files = {path.relative_to(result).as_posix() for path in result.rglob("*") if path.is_file()}
    assert files == {
        "splats.ply",
        "points.ply",
        "transforms.json",
        "images/left.jpg",
        "images/middle.jpg",
        "video.mp4",
        "overview.png",
        "report.json",
    }


def test_splats_and_cameras_share_one_world(result: Path) -> None:
    gaussians = read_gaussians_ply(result / "splats.ply")
    posed = read_transforms(result)
    for path, camera in zip(posed.paths, posed.cameras, strict=True):
        photo = torch.from_numpy(np.asarray(Image.open(path), dtype=np.float32) / 255)
        with torch.no_grad():
            drawn = render_gaussians(gaussians, camera).colour[0]
        assert psnr(drawn, photo) > 20
    document = json.loads((result / "transforms.json").read_text(encoding="utf-8"))
    points, _, _ = read_points_ply(result / document["ply_file_path"])
    # Points lie before the cameras, within the extent of the splats.
    assert float(points[:, 2].median()) > 0
    low, high = gaussians.means.amin(0), gaussians.means.amax(0)
    assert ((points > low - 1) & (points < high + 1)).all()


def test_report_tells_what_a_user_asks(result: Path) -> None:
    report = json.loads((result / "report.json").read_text(encoding="utf-8"))
    assert list(report["stages"]) == ["photos", "geometry", "path", "frames", "fit", "files"]
    for stage in report["stages"].values():
        assert stage["seconds"] >= 0
        assert stage["peak_memory_mb"] > 50
    assert set(report["photos"]) == {"left.jpg", "middle.jpg"}
    for photo in report["photos"].values():
        assert 0.3 < photo["measured"] <= 1
    assert report["matches"][0]["photos"] == ["left.jpg", "middle.jpg"]
    assert report["matches"][0]["count"] > 300
    shared = report["weakest_pair"]
    assert shared["photos"] == ["left.jpg", "middle.jpg"]
    assert 0.5 < shared["shared"] < 1
    assert 15 < shared["angle_degrees"] < 25
    (neighbour,) = report["photos"]["left.jpg"]["neighbours"].items()
    assert neighbour == ("middle.jpg", {key: shared[key] for key in ("shared", "angle_degrees")})
    # The two photos hang together well; only parts that one of them shows alone can be mended.
    assert all("no other photo shows" in photo["text"] for photo in report["next_photos"])
    assert report["seed"] == 0
    assert report["versions"]["reconx"]


def test_overwriting_gives_the_same_bytes_and_keeps_what_is_not_ours(
    photos: list[str], result: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    shutil.copytree(result, folder)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / "splats.ply").write_bytes(b"of another day")
    (folder / "splats.splat").write_bytes(b"in a format that is not asked for now")
    again = ["--output", str(folder), "--overwrite", "--format", "spz,ply"]
    assert main(["reconstruct", *photos, *again, *SMALL]) == 0
    assert not (folder / "splats.splat").exists()
    exact, rounded = (read_splats(folder / f"splats.{name}") for name in ("ply", "spz"))
    torch.testing.assert_close(rounded.means, exact.means, atol=1e-4, rtol=0)
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (folder / "splats.ply").read_bytes() == (result / "splats.ply").read_bytes()


def test_a_photo_of_elsewhere_is_left_out(
    photos: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(0)
    noise = np.kron(random.integers(0, 255, (38, 51, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "elsewhere.jpg")
    three = [photos[0], str(tmp_path / "elsewhere.jpg"), photos[1]]
    output = tmp_path / "out"
    assert main(["reconstruct", *three, "--output", str(output), *SMALL, "--steps", "5"]) == 0
    assert caplog.text.count("elsewhere.jpg") == 1
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert set(report["photos"]) == {"left.jpg", "middle.jpg"}
    assert any("elsewhere.jpg" in warning for warning in report["warnings"])


def test_unseen_views_of_the_room(tmp_path: Path) -> None:
    options = ReconstructOptions.of_quality("draft", size=224, frames=5, steps=120)
    weights = tmp_path / "lpips.pth"
    torch.save(trunk() | heads(), weights)
    evaluation = evaluate_split(ROOM, "two", options=options, lpips=weights)
    save_evaluation(evaluation, tmp_path)
    assert not evaluation.unregistered
    assert evaluation.cameras.rotation_degrees < 0.5
    assert evaluation.depth is not None
    assert evaluation.depth.median < 0.02
    rows = {row.name: row for row in evaluation.rows}
    product = evaluation.rows[0]
    assert product.mean("psnr") > rows["nearest"].mean("psnr") + 4
    assert product.mean("psnr") > rows["unfitted"].mean("psnr")
    assert product.mean("psnr") > 19
    document = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert document["rows"][product.name]["mean"]["psnr"] == pytest.approx(
        product.mean("psnr"), abs=1e-3
    )
    lpips = {name: row["mean"]["lpips"] for name, row in document["rows"].items()}
    assert 0 < lpips[product.name] < lpips["nearest"]
    assert (tmp_path / "evaluation.png").stat().st_size > 10_000


def test_bent_photos_are_not_scored(tmp_path: Path) -> None:
    document = json.loads((ROOM / "transforms.json").read_text(encoding="utf-8"))
    bent = json.dumps({**document, "camera_model": "OPENCV", "k1": 0.1})
    (tmp_path / "transforms.json").write_text(bent, encoding="utf-8")
    shutil.copy(ROOM / "splits.json", tmp_path)
    with pytest.raises(InputError, match="have lens distortion; expected none, .* Undistort them"):
        evaluate_split(tmp_path, "two", options=ReconstructOptions())
