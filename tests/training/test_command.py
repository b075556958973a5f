"""`python -m reconx train structure`: one command for a first sitting and all that follow."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_trainable import toy_options

from reconx.cli import main
from reconx.parts import PartSpec
from reconx.structure.model import load_structure_model
from reconx.training.recipe import recipe_json
from reconx.training.registry import TRAINABLE

pytest.importorskip("accelerate")

SUPPORT = Path(__file__).resolve().parents[1] / "support"
TOY = PartSpec(name="toy", factory="toy_trainable:make_toy")
LAUNCHED = """
import sys
from reconx.cli import main
from reconx.parts import PartSpec
from reconx.training.registry import TRAINABLE
TRAINABLE["toy"] = PartSpec(name="toy", factory="toy_trainable:make_toy")
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(TRAINABLE, "toy", TOY)
    path = tmp_path / "recipe.json"
    options = toy_options(learn={"steps": 3, "warm_up": 1})
    path.write_text(json.dumps(recipe_json(options)), encoding="utf-8")
    return path


def train(recipe: Path, folder: Path, *more: str) -> int:
    arguments = ["train", "structure", "--config", str(recipe), "--output", str(folder)]
    return main([*arguments, "--device", "cpu", *more])


def test_sittings_of_the_command(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(recipe, run, "--fill-only") == 0
    assert "5 clips are encoded." in capsys.readouterr().out
    assert not (run / "log.jsonl").exists()
    assert train(recipe, run, "--stop-after", "2") == 0
    assert "Steps are left. The same command goes on" in capsys.readouterr().out
    assert train(recipe, run, "--check-cache") == 0
    assert "Written: " in capsys.readouterr().out
    assert load_structure_model(run / "structure.safetensors").facts.steps == 4
    # A second arm takes the clips of the first.
    arm = ["--cache", str(run / "cache"), "--options", "learn.dropped=1", "learn.steps=1"]
    assert train(recipe, tmp_path / "arm", *arm) == 0
    assert not (tmp_path / "arm" / "cache").exists()


def test_a_dry_run_tells_costs_and_keeps_nothing(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert train(recipe, tmp_path / "run", "--dry-run") == 0
    told = capsys.readouterr().out
    for text in (
        "Trained parameters: denoiser 0.0",
        "frozen: 0.00 M",
        "(counted): 0.00 GB",
        "(measured on cpu)",
        "Encoding (measured on 1 clips)",
        "for all 5 by one process (estimated)",
        "(measured on 3 steps)",
        "for all 4 (estimated)",
    ):
        assert text in told
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--options", "learn.speed=3"], "Option 'learn.speed' is unknown"),
        (["--options", "backbone=warp"], "Trainable backbone 'warp' is unknown"),
        (["--stop-after", "-1"], "--stop-after is -1"),
    ],
)
def test_wrong_input_is_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], text: str
) -> None:
    assert train(recipe, tmp_path / "run", *more) == 2
    told = capsys.readouterr().err
    assert text in told
    assert told.count("\n") == 1


def test_the_pack_never_imports_the_trainer() -> None:
    """ComfyUI loads what users run, and none of this."""
    root = Path(__file__).resolve().parents[2]
    for path in [root / "__init__.py", *(root / "nodes").rglob("*.py")]:
        found = re.search(r"^\s*(from|import)\b.*\btraining\b", path.read_text("utf-8"), re.M)
        assert found is None, path
    script = "import sys, reconx, reconx.cli, reconx.pipeline, reconx.structure.model\n"
    script += "print([name for name in sys.modules if name.startswith('reconx.training')])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.slow
def test_two_processes_make_the_run_of_one(recipe: Path, tmp_path: Path) -> None:
    """The same batches and the same chance: weights differ by rounding alone."""
    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED, encoding="utf-8")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--num_processes", "2", "--num_cpu_threads_per_process"]
    command += ["1", "--main_process_port", "29653", str(script), "train", "structure"]
    command += ["--config", str(recipe), "--output", str(tmp_path / "two"), "--device", "cpu"]
    paths = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert train(recipe, tmp_path / "one") == 0
    one, two = (load_file(tmp_path / run / "structure.safetensors") for run in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=1e-3)
    lines = [(tmp_path / run / "log.jsonl").read_text("utf-8") for run in ("one", "two")]
    losses = [[json.loads(line)["loss"] for line in text.splitlines()] for text in lines]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
