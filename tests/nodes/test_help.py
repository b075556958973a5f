"""Each node's help page: it names all that the node has, and shows a picture that is there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_workflow import DYNAMIC_COMBO, specs
from freeze_schemas import read_schemas
from PIL import Image

PAGES = Path(__file__).resolve().parents[2] / "nodes" / "web" / "docs"
SCHEMAS = read_schemas()
PICTURE = re.compile(r"!\[([^]]*)\]\(([^)]*)\)")


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def named(inputs: dict[str, Any]) -> Iterator[str]:
    """Every input as its page writes it, and every choice that brings inputs of its own."""
    for name, kind, options in specs(inputs):
        yield name
        for choice in options["options"] if kind == DYNAMIC_COMBO else []:
            yield f"`{choice['key']}`"
            yield from named(choice["inputs"])


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_page_names_all_inputs_and_outputs(name: str) -> None:
    text = page(name)
    bold = {part for group in re.findall(r"\*\*(.+?)\*\*", text) for part in group.split(", ")}
    found = bold | set(re.findall("`[^`]+`", text))
    wanted = [*named(SCHEMAS[name]["input"]), *SCHEMAS[name]["output_name"]]
    assert [each for each in wanted if each not in found] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_page_tells_what_to_do_when_it_fails(name: str) -> None:
    _, heading, remedies = page(name).partition("hen it fails\n")
    assert heading
    assert remedies.count("\n- ") >= 1


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_page_has_a_picture(name: str) -> None:
    ((alt, file),) = PICTURE.findall(page(name))
    # The frontend looks for pictures beside the page, and puts the text into a quoted attribute.
    assert file == f"{name}.jpg"
    assert len(alt) > 20
    assert '"' not in alt
    with Image.open(PAGES / file) as picture:
        assert picture.format == "JPEG"
        assert picture.width == 600


def test_pages_and_pictures_belong_to_nodes() -> None:
    files = {path.name for path in PAGES.iterdir()}
    assert files == {f"{name}.{suffix}" for name in SCHEMAS for suffix in ("md", "jpg")}
    sizes = [path.stat().st_size for path in PAGES.glob("*.jpg")]
    assert max(sizes) < 65_000
    assert sum(sizes) < 1_000_000
