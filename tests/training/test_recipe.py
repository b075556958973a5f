import json
import re
from pathlib import Path

import pytest

from reconx.errors import InputError
from reconx.training.options import DataOptions, TrainOptions
from reconx.training.recipe import make_record, read_recipe, recipe_json

PLAIN = {"backbone": "svd", "data": [{"kind": "re10k", "root": "videos"}], "learn": {"rate": 1}}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(PLAIN), encoding="utf-8")
    return path


def test_a_recipe_is_read_and_changed(recipe: Path) -> None:
    changes = ["learn.steps=7", "data.0.clips=3", "clip.width=64", "model=some/folder", "rank=null"]
    options = read_recipe(recipe, changes)
    assert options.data == (DataOptions(kind="re10k", root=Path("videos"), clips=3),)
    assert (options.learn.steps, options.learn.rate, options.clip.width) == (7, 1.0, 64)
    assert options.model == Path("some/folder")
    assert make_record(TrainOptions, recipe_json(options), "") == options


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("learn.step=1", r"'learn\.step' is unknown. Choose one of: steps"),
        ("learn.steps=many", r"'learn\.steps' is 'many'; expected int"),
        ("learn.steps=1.5", r"'learn\.steps' is 1\.5; expected int"),
        ("learn.precision=fp8", r"'learn\.precision' is 'fp8'; expected \('fp32'"),
        ("learn.steps=0", "'steps' is 0; expected at least 1"),
        ("data.3.clips=1", "'3' is not in the recipe"),
        ("data.0.kind=videos", "Kind of data 'videos' is unknown"),
        ("data.0.root=null", "kind 're10k' has root None. Give the folder"),
        ("data=[]", "no data"),
        ("clip.frames=1", "Frames of a clip is 1"),
        ("learn", "has no value"),
        ("data.clips=3", "leads nowhere"),
    ],
)
def test_a_wrong_option_is_named(recipe: Path, change: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        read_recipe(recipe, [change])


def test_a_wrong_file_is_named(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'backbone' is missing"):
        make_record(TrainOptions, {}, "")
    with pytest.raises(InputError, match="does not exist"):
        read_recipe(tmp_path / "none.json")
    recipe.write_text("[1", encoding="utf-8")
    with pytest.raises(InputError, match="is not JSON"):
        read_recipe(recipe)
    recipe.write_text("[1]", encoding="utf-8")
    with pytest.raises(InputError, match="no JSON object"):
        read_recipe(recipe)


def test_the_recipe_of_the_readme_is_one(tmp_path: Path) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    (text,) = re.findall(r"```json\n(.*?)```", readme, re.S)
    path = tmp_path / "recipe.json"
    path.write_text(text, encoding="utf-8")
    options = read_recipe(path)
    assert [source.kind for source in options.data] == ["re10k", "procedural"]
    assert options.clip.frames % 4 == 1
