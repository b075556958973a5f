"""Every node is there, from this checkout, and saved workflows can rely on it."""

import re
from pathlib import Path

import pytest
from comfy_workflow import Schemas
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


def test_every_input_and_output_is_explained(schemas: Schemas) -> None:
    bare = []
    for name, info in frozen_schemas(schemas).items():
        told = schemas[name]
        bare += [f"{name}: output {i}" for i, tip in enumerate(told["output_tooltips"]) if not tip]
        for part in ("required", "optional"):
            inputs = told["input"].get(part, {})
            bare += [f"{name}.{id}" for id, spec in inputs.items() if not spec[1].get("tooltip")]
        assert told["category"] == "ReconX"
        assert told["description"], info["name"]
        assert told["search_aliases"], info["name"]
        assert (ROOT / "nodes" / "web" / "docs" / f"{name}.md").is_file(), f"no help for {name}"
    assert bare == []
