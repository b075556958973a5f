"""Many scenes: which process takes which, what a restart skips, and what the table says."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reconx.cli import main
from reconx.errors import AlignmentFailed, InputError
from reconx.evaluation.datasets.registry import DATASETS
from reconx.evaluation.datasets.rows import RowFolder, SceneRow
from reconx.evaluation.datasets.run import DatasetOptions, make_table, run_scenes
from reconx.evaluation.datasets.shards import Shard, find_shard
from reconx.evaluation.scores import Row, TargetScore
from reconx.export.nerfstudio import read_transforms
from reconx.pipeline import ReconstructOptions

ROOM = Path(__file__).resolve().parents[3] / "assets" / "sample-room"


def make_row(*psnrs: float, lpips: float | None = None) -> Row:
    scores = tuple(
        TargetScore(
            photo=f"frame-{number}",
            psnr=psnr,
            ssim=psnr / 40,
            covered=1.0,
            psnr_covered=psnr,
            psnr_unrefined=psnr,
            picture=torch.zeros(1, 1, 3),
            lpips=lpips,
        )
        for number, psnr in enumerate(psnrs)
    )
    return Row(name="fit", meaning="", scores=scores)


class Evaluator:
    """Counts whom it is asked for; scene "bad" fails, and "stop" ends the process."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, scene: str) -> Row:
        self.asked.append(scene)
        if scene == "bad":
            raise AlignmentFailed("Photos share\n too little.")
        if scene == "stop":
            raise KeyboardInterrupt
        return make_row(20.0, 30.0)


def run(folder: Path, scenes: Sequence[str], shard: Shard | None = None) -> list[str]:
    evaluator = Evaluator()
    run_scenes(scenes, RowFolder(folder, {"size": 256}, shard or Shard()), evaluator)
    return evaluator.asked


def test_a_restart_skips_what_is_done(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ["a", "bad", "stop", "b"])
    assert run(tmp_path, ["a", "bad", "b", "c"]) == ["b", "c"]
    assert run(tmp_path, ["a", "bad", "b", "c"]) == []
    rows = RowFolder(tmp_path, {"size": 256}, Shard()).rows()
    assert [row.scene for row in rows] == ["a", "b", "bad", "c"]
    assert rows[0].psnr == 25
    assert rows[0].ssim == 0.625
    assert rows[0].targets["frame-1"] == {"psnr": 30, "ssim": 0.75}
    assert rows[0].lpips is None
    assert rows[2].psnr is None
    assert rows[2].error == "Photos share too little."


def test_lpips_is_kept_where_it_is_measured(tmp_path: Path) -> None:
    folder = RowFolder(tmp_path, {}, Shard())
    run_scenes(["a"], folder, lambda _: make_row(20.0, 30.0, lpips=0.125))
    (row,) = folder.rows()
    assert row.lpips == 0.125
    assert row.targets["frame-1"] == {"psnr": 30, "ssim": 0.75, "lpips": 0.125}


def test_a_line_that_was_cut_runs_again(tmp_path: Path) -> None:
    run(tmp_path, ["a", "b"])
    (file,) = tmp_path.glob("scenes-*.jsonl")
    file.write_bytes(file.read_bytes()[:-9])
    assert run(tmp_path, ["a", "b"]) == ["b"]
    assert len(file.read_text(encoding="utf-8").splitlines()) == 2
    file.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match="scenes-1-of-1.jsonl', line 1 is no evaluated scene"):
        run(tmp_path, ["a"])


def test_rows_of_other_options_are_not_mixed(tmp_path: Path) -> None:
    run(tmp_path, ["a"])
    with pytest.raises(InputError, match="evaluated with size 256 and not 512. Choose another"):
        RowFolder(tmp_path, {"size": 512}, Shard())


def test_processes_share_the_scenes(tmp_path: Path) -> None:
    scenes = [f"scene-{number:02d}" for number in range(11)]
    asked = [
        run(tmp_path, Shard(number=n, count=4).part(scenes), Shard(number=n, count=4))
        for n in range(1, 5)
    ]
    assert sum(asked, []) == scenes  # each once, neighbours together
    assert sorted(map(len, asked)) == [2, 3, 3, 3]
    # Any other number of processes finds all of it done.
    assert run(tmp_path, scenes) == []


def test_a_shard_is_named_or_comes_from_a_launcher() -> None:
    launched = {"RANK": "2", "WORLD_SIZE": "8"}
    assert find_shard(None, {}) == Shard()
    assert find_shard(None, launched) == Shard(number=3, count=8)
    assert find_shard("2/5", launched) == Shard(number=2, count=5)
    for text, words in (("3", "'3' is no part"), ("a/3", "Shard is 'a'"), ("0/3", "Shard is 0")):
        with pytest.raises(InputError, match=words):
            find_shard(text, {})
    with pytest.raises(InputError, match="Shard is 4; expected between 1 and 3"):
        find_shard("4/3", {})
    with pytest.raises(InputError, match="Number of shards is 0"):
        find_shard(None, {"WORLD_SIZE": "0"})


def test_the_table_stands_beside_the_papers(tmp_path: Path) -> None:
    options = DatasetOptions(
        dataset="re10k", root=tmp_path, index=tmp_path, reconstruct=ReconstructOptions()
    )
    done = SceneRow(scene="a", psnr=25.004, ssim=0.8, targets={}, seconds=1.0, error=None)
    bad = SceneRow(scene="bad", psnr=None, ssim=None, targets={}, seconds=1.0, error="Too little.")
    table = make_table([done, replace(done, scene="b", psnr=20.0, ssim=0.7), bad], 6, options)
    lines = table.splitlines()
    assert lines[0] == "# RealEstate10K"
    assert lines[4] == "| this, stereo + small, cameras given | 2 of 6 | 22.50 | 0.750 | - |"
    assert lines[5] == "| ReconX, easy (paper) | | 28.31 | 0.912 | 0.088 |"
    assert "1 scenes were not reconstructed and 3 are still to be" in table
    assert lines[-1] == "- bad: Too little."
    assert "LPIPS was not measured: --score-lpips FILE" in table
    assert "| 0 of 6 | - | - | - |" in make_table([], 6, options)
    measured = make_table([replace(done, lpips=0.1254)], 6, replace(options, lpips=tmp_path))
    assert "| 1 of 6 | 25.00 | 0.800 | 0.125 |" in measured
    assert "not measured" not in measured


def test_the_papers_figures_are_those_of_its_tables() -> None:
    figures = {
        name: [(line.psnr, line.ssim, line.lpips) for line in spec.reported]
        for name, spec in DATASETS.items()
    }
    assert figures["acid"][2] == (24.53, 0.847, 0.083)
    assert [psnr for psnr, _, _ in figures["dl3dv"][:4]] == [13.60, 14.97, 17.45, 18.59]


@pytest.fixture
def room_chunk(tmp_path: Path) -> Path:
    """The sample room as a dataset of one scene, and one whose pictures are cut."""
    posed = read_transforms(ROOM)
    chosen = [posed.names.index(name) for name in ("left.jpg", "middle.jpg", "holdout-2.jpg")]
    cameras = torch.zeros(3, 18)
    for row, index in enumerate(chosen):
        camera = posed.cameras[index]
        K = camera.K[0] / torch.tensor([camera.width, camera.height, 1.0])[:, None]
        cameras[row, :4] = torch.stack([K[0, 0], K[1, 1], K[0, 2], K[1, 2]])
        cameras[row, 6:] = camera.viewmats[0, :3].flatten()
    images = [
        torch.frombuffer(bytearray(posed.paths[index].read_bytes()), dtype=torch.uint8)
        for index in chosen
    ]
    cut = {"key": "cut", "images": [image[:9000] for image in images], "cameras": cameras}
    folder = tmp_path / "rooms"
    folder.mkdir()
    torch.save([{"key": "room", "images": images, "cameras": cameras}, cut], folder / "0.torch")
    files = {"room": "0.torch", "cut": "0.torch"}
    (folder / "index.json").write_text(json.dumps(files), encoding="utf-8")
    split = {"context": [0, 1], "target": [2]}
    index = {"room": split, "cut": split, "elsewhere": split, "none": None}
    (tmp_path / "evaluation.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("cameras", ["given", "found"])
def test_one_command_reconstructs_scores_and_goes_on(
    room_chunk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cameras: str
) -> None:
    output = tmp_path / "out"
    where = [str(room_chunk), "--index", str(tmp_path / "evaluation.json")]
    how = ["--output", str(output), "--cameras", cameras, "--quality", "draft", "--steps", "40"]
    command = ["evaluate-dataset", "re10k", *where, *how, "--size", "224"]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert f"| this, stereo + small, cameras {cameras} | 1 of 2 |" in table
    assert "scene 'cut', frame 0: its image is damaged or empty" in table
    assert (output / "table.md").read_text(encoding="utf-8") == table
    lines = (output / "scenes-1-of-1.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["scene"]: row for row in map(json.loads, lines)}
    assert rows["room"]["psnr"] > 15
    assert math.isclose(rows["room"]["targets"]["frame-2"]["psnr"], rows["room"]["psnr"])
    assert main(command) == 0
    assert len((output / "scenes-1-of-1.jsonl").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["dtu"], "Dataset 'dtu' is unknown. Choose one of: re10k, acid, dl3dv"),
        (["re10k", "--cameras", "guessed"], "Cameras 'guessed' is unknown"),
        (["re10k", "--shard", "5/4"], "Shard is 5"),
        (["dl3dv"], "no folder with a transforms.json"),
        (["re10k", "--index", "gone.json"], "gone.json' does not exist"),
        (["re10k", "--score-lpips", "gone.pth"], "no weights of LPIPS at 'gone.pth'"),
    ],
)
def test_wrong_arguments_are_named(
    room_chunk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    words: str,
) -> None:
    dataset, *rest = change
    output = tmp_path / "out"
    where = [str(room_chunk), "--index", str(tmp_path / "evaluation.json")]
    command = ["evaluate-dataset", dataset, *where, "--output", str(output), *rest]
    assert main(command) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "reconx:" in line]
    assert words in line
    assert not output.exists()


def test_an_index_of_other_scenes_is_named(room_chunk: Path, tmp_path: Path) -> None:
    index = tmp_path / "other.json"
    index.write_text('{"x": {"context": [0, 1], "target": [2]}}', encoding="utf-8")
    where = [str(room_chunk), "--index", str(index), "--output", str(tmp_path / "out")]
    with pytest.raises(InputError, match="None of the 1 scenes of .* lies in"):
        main(["evaluate-dataset", "re10k", *where, "--debug"])
