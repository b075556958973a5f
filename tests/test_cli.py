"""Bad input: exit status 2, one line that says what and what to do, nothing written."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reconx import pipeline
from reconx.cli import main
from reconx.errors import InputError
from reconx.evaluation import protocol
from reconx.evaluation.datasets import run
from reconx.ops.projection import pixel_centres, sample_image
from reconx.ops.se3 import so3_exp
from reconx.pipeline import ReconstructOptions

ROOM = Path(__file__).resolve().parents[1] / "assets" / "sample-room" / "images"
LEFT, MIDDLE = ROOM / "left.jpg", ROOM / "middle.jpg"
QUICK = ["--quality", "draft", "--size", "192", "--frames", "5", "--steps", "5"]


def save_picture(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray((255 * pixels).clip(0, 255).astype(np.uint8)).save(path, quality=95)
    return path


def blotches(seed: int, side: int = 360) -> np.ndarray:
    """A texture full of corners that no other seed shares."""
    random = np.random.default_rng(seed)
    image = np.zeros((side, side * 4 // 3, 3))
    for scale in (4, 10, 24):
        coarse = random.random((side // scale + 1, side * 4 // 3 // scale + 1, 3))
        image += np.kron(coarse, np.ones((scale, scale, 1)))[:side, : side * 4 // 3]
    return image / 3


def assert_refused(
    capsys: pytest.CaptureFixture[str], output: Path, arguments: Sequence[object], *words: str
) -> None:
    existed = output.exists()
    status = main(["reconstruct", *map(str, arguments), "--output", str(output), *QUICK])
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2, lines
    errors = [line for line in lines if line.startswith("reconx: ")]
    assert len(errors) == 1, lines
    for word in words:
        assert word in errors[0], f"{word!r} is not in: {errors[0]}"
    assert output.exists() == existed
    assert not list(output.parent.glob(f".{output.name}*")), "something half-written was left"


def test_no_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(capsys, tmp_path / "out", [], "No photo")


def test_one_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(capsys, tmp_path / "out", [LEFT], "one photo", "at least two")


def test_parts_and_checkpoints_that_do_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [LEFT, MIDDLE]
    gone = tmp_path / "gone.safetensors"
    for arguments, words in (
        (["--estimator", "dust3r"], "needs a checkpoint"),
        (["--estimator", "dust3r", "--checkpoint", gone], "There is no DUSt3R checkpoint"),
        (["--checkpoint", gone], "'stereo' takes no checkpoint"),
        (["--estimator", "colmap"], "'colmap' is unknown. Choose one of: stereo, dust3r"),
        (["--confidence", "magic"], "'magic' is unknown. Choose one of: agreement, pairwise"),
        (
            ["--confidence", "pairwise"],
            "'pairwise' matches frames by a pairwise network, and none was given. Connect Load "
            "Pointmap Model, or give --estimator dust3r with --checkpoint FILE",
        ),
    ):
        assert_refused(capsys, tmp_path / "out", [*photos, *arguments], words)


@pytest.mark.parametrize("command", ["reconstruct", "evaluate", "evaluate-dataset"])
def test_what_makes_frames_and_how_they_train_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    asked: list[ReconstructOptions] = []

    def keep(*_: object, options: ReconstructOptions, **__: object) -> None:
        asked.append(options)
        raise InputError("That is all.")

    monkeypatch.setattr(pipeline, "reconstruct", keep)
    monkeypatch.setattr(protocol, "evaluate_split", keep)
    monkeypatch.setattr(
        run, "evaluate_dataset", lambda options, *_: keep(options=options.reconstruct)
    )
    index = tmp_path / "index.json"
    index.write_text("{}", encoding="utf-8")
    arguments = {
        "reconstruct": [LEFT],
        "evaluate": [ROOM.parent, "--split", "two"],
        "evaluate-dataset": ["re10k", tmp_path, "--index", index],
    }[command]
    base = [command, *map(str, arguments), "--output", str(tmp_path / "out")]
    frames = ["--backbone", "wan-vace", "--model", str(tmp_path), "--frames", "9"]
    for flags in ([], [*frames, "--train-on-generated", "--confidence", "pairwise"]):
        assert main([*base, *flags]) == 2
    plain, chosen = asked
    assert (plain.backbone, plain.model, plain.confidence) == ("small", None, "agreement")
    assert not plain.fit.train_on_generated
    assert chosen.model is not None
    assert (chosen.backbone, chosen.model.folder) == ("wan-vace", tmp_path)
    assert (chosen.path.frames, chosen.confidence) == (9, "pairwise")
    assert chosen.fit.train_on_generated


def test_the_same_photo_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.jpg"
    shutil.copy(LEFT, copy)
    assert_refused(capsys, tmp_path / "out", [LEFT, copy], "left.jpg", "copy.jpg")


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    assert_refused(capsys, tmp_path / "out", [folder], "nothing")


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(capsys, tmp_path / "out", [LEFT, tmp_path / "gone.jpg"], "gone.jpg")


@pytest.mark.parametrize("content", [b"", LEFT.read_bytes()[:20_000], b"not a picture at all"])
def test_a_file_that_is_no_whole_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(content)
    assert_refused(capsys, tmp_path / "out", [LEFT, broken], "broken.jpg")


def test_photos_of_two_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = save_picture(tmp_path / "elsewhere.jpg", blotches(1))
    assert_refused(capsys, tmp_path / "out", [LEFT, elsewhere], "elsewhere.jpg", "matches")


def test_a_blank_wall(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walls = [
        save_picture(tmp_path / f"wall-{shade}.jpg", np.full((240, 320, 3), shade / 100))
        for shade in (80, 82)
    ]
    assert_refused(capsys, tmp_path / "out", walls, "wall-80.jpg")


def test_pure_rotation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = torch.from_numpy(np.asarray(Image.open(LEFT).convert("RGB")) / np.float32(255))
    K = torch.tensor([[700.0, 0, 320], [0, 700, 240], [0, 0, 1]])
    centre = torch.tensor([[700.0, 0, 512], [0, 700, 384], [0, 0, 1]])
    turned = []
    for number, angle in enumerate((-0.06, 0.06)):
        rays = torch.nn.functional.pad(pixel_centres(640, 480), (0, 1), value=1.0)
        rays = rays @ (centre @ so3_exp(torch.tensor([0.0, angle, 0.0])) @ torch.linalg.inv(K)).mT
        picture = sample_image(photo, rays[..., :2] / rays[..., 2:])
        turned.append(save_picture(tmp_path / f"turned-{number}.jpg", picture.numpy()))
    assert_refused(capsys, tmp_path / "out", turned, "turned-0.jpg", "step")


def test_an_output_that_exists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "mine.txt").write_text("keep", encoding="utf-8")
    assert_refused(capsys, output, [LEFT, MIDDLE], "out", "--overwrite")
    assert (output / "mine.txt").read_text(encoding="utf-8") == "keep"


def test_an_interrupted_fit_says_that_it_can_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    seen: list[bool] = []

    def interrupted(*_: object, checkpoint: Path, **__: object) -> None:
        seen.append(checkpoint.exists())
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.write_bytes(b"state")
        raise KeyboardInterrupt

    monkeypatch.setattr("reconx.pipeline.reconstruct", interrupted)
    command = ["reconstruct", str(LEFT), str(MIDDLE), "--output", str(output), *QUICK]
    assert main(command) == 130
    assert "the same command, without --overwrite, goes on with the fit" in capsys.readouterr().err
    # A folder that holds nothing but the state of a fit is no earlier result.
    assert main(command) == 130
    assert main([*command, "--overwrite"]) == 130
    assert seen == [False, True, False]


def test_an_output_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("a file, not a folder", encoding="utf-8")
    assert_refused(capsys, blocker / "out", [LEFT, MIDDLE], "file")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frames", "0"], ("rames", "0")),
        (["--frames", "many"], ("frames", "many")),
        (["--size", "-5"], ("ize", "-5")),
        (["--steps", "-1"], ("teps", "-1")),
        (["--fov-degrees", "400"], ("400", "179")),
        (["--focal-px", "-3"], ("ocal", "-3")),
        (["--focal-px", "500", "--fov-degrees", "60"], ("500", "60")),
        (["--backbone", "dreams"], ("dreams", "warp")),
        (["--backbone", "warp", "--model", "somewhere"], ("warp", "takes no model")),
        (["--path", "moonwalk"], ("moonwalk", "interpolate", "orbit", "truck")),
        (["--amplitude", "50"], ("amplitude", "50", "20")),
        (["--quality", "best"], ("best", "draft, normal, high")),
        (["--format", "ply,obj"], ("obj", "ply, spz, splat")),
        (["--device", "abacus"], ("abacus", "cpu")),
        (["--unheard-of"], ("--unheard-of",)),
    ],
)
def test_arguments_out_of_range(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: tuple[str, ...],
) -> None:
    # The last of two equal options counts, so these stand behind the quick ones.
    output = tmp_path / "out"
    status = main(
        ["reconstruct", str(LEFT), str(MIDDLE), "--output", str(output), *QUICK, *arguments]
    )
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]
    assert not output.exists()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No photo"):
        main(["reconstruct", "--output", str(tmp_path / "out"), "--debug"])
