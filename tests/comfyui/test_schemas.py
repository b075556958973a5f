"""Every node is there, from this checkout, and saved workflows can rely on it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_workflow import DYNAMIC_COMBO, Schemas, specs
from freeze_schemas import breaks, frozen_schemas, read_schemas

pytestmark = pytest.mark.comfyui

ROOT = Path(__file__).resolve().parents[2]


def test_every_node_is_known_to_the_host(schemas: Schemas) -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "nodes").glob("*.py"))
    written = {id for text in sources for id in re.findall(r'node_id="(\w+)"', text)}
    ours = {name: info for name, info in schemas.items() if name.startswith("ReconX_")}
    assert set(ours) == written
    assert {info["python_module"] for info in ours.values()} == {f"custom_nodes.{ROOT.name}"}


def test_saved_workflows_stay_valid(schemas: Schemas) -> None:
    live = frozen_schemas(schemas)
    assert list(breaks(read_schemas(), live)) == []
    assert read_schemas() == live, "something is new: run python tools/freeze_schemas.py"


def explained_inputs(inputs: dict[str, Any], prefix: str) -> Iterator[tuple[str, bool]]:
    """(name, whether it has a tooltip) of every input, a DynamicCombo's children too."""
    for name, kind, options in specs(inputs):
        yield prefix + name, bool(options.get("tooltip"))
        for choice in options["options"] if kind == DYNAMIC_COMBO else []:
            yield from explained_inputs(choice["inputs"], f"{prefix}{name}.")


@pytest.mark.parametrize("name", read_schemas())
def test_everything_is_explained(schemas: Schemas, name: str) -> None:
    told = schemas[name]
    bare = [f"output {i}" for i, tip in enumerate(told["output_tooltips"]) if not tip]
    bare += [input for input, explained in explained_inputs(told["input"], "") if not explained]
    assert bare == []
    assert told["category"] == "ReconX"
    assert told["description"]
    assert told["search_aliases"]
    assert (ROOT / "nodes" / "web" / "docs" / f"{name}.md").is_file()
