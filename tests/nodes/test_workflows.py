"""Saved canvases and shipped workflows, read without a host against the frozen schemas."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_workflow import (
    DYNAMIC_COMBO,
    NOTES,
    Prompt,
    WorkflowError,
    choice_inputs,
    is_link,
    is_widget,
    read_widgets,
    set_input,
    specs,
    to_prompt,
)
from freeze_schemas import WORKFLOWS, read_all_schemas

Json = dict[str, Any]

CANVASES = sorted((Path(__file__).parent / "canvases").glob("*.json"))
SCHEMAS = read_all_schemas()
END = object()


def load(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8"))


def parts(workflow: Json) -> Iterator[Json]:
    """The canvas, and the subgraphs defined on it."""
    yield workflow
    yield from workflow.get("definitions", {}).get("subgraphs", [])


def inputs_of(
    schema_inputs: Json, given: Json, prefix: str = ""
) -> Iterator[tuple[str, str, Json]]:
    """(name, type, options) of every input that a node may be given, choices resolved."""
    for name, kind, options in specs(schema_inputs):
        name = prefix + name
        yield name, kind, options
        if kind == DYNAMIC_COMBO:
            yield from inputs_of(choice_inputs(options, given[name]), given, f"{name}.")
        if kind == "COMFY_AUTOGROW_V3":
            template = options["template"]
            ((_, one, of_one),) = specs(template["input"])
            count = template.get("max", 0)
            grown = template.get("names") or [f"{template['prefix']}{i}" for i in range(count)]
            yield from ((f"{name}.{each}", one, of_one) for each in grown)


def accepts(wanted: str, given: str) -> bool:
    """Whether an output fits an input; both may name several types."""
    either = {wanted, given} & {"*", "COMFY_MATCHTYPE_V3"}
    return bool(either) or bool(set(wanted.split(",")) & set(given.split(",")))


def fits(value: Any, kind: str, options: Json) -> bool:
    """Whether a widget takes a value."""
    if kind in ("INT", "FLOAT"):
        whole = isinstance(value, int) and not isinstance(value, bool)
        number = whole or kind == "FLOAT" and isinstance(value, float)
        return number and options.get("min", value) <= value <= options.get("max", value)
    if kind == "BOOLEAN":
        return isinstance(value, bool)
    if kind == "COMBO":
        # Without values it lists files of the machine; some list others before those.
        files = not options["options"] or str(value).endswith(".safetensors")
        return files or value in options["options"]
    return kind == "LOAD_3D" or isinstance(value, str)


def problems(prompt: Prompt) -> Iterator[str]:
    """What the host would refuse a graph for."""
    for id, node in prompt.items():
        given = node["inputs"]
        required = SCHEMAS[node["class_type"]]["input"].get("required", {})
        known = {
            name: rest for name, *rest in inputs_of(SCHEMAS[node["class_type"]]["input"], given)
        }
        yield from (f"{id}: lacks {name}" for name in set(required) - set(given))
        yield from (f"{id}: has no input {name}" for name in set(given) - set(known))
        for name in set(given) & set(known):
            kind, options = known[name]
            if is_link(given[name]):
                source, slot = given[name]
                found = SCHEMAS[prompt[source]["class_type"]]["output"][slot]
                if not accepts(kind, found):
                    yield f"{id}.{name}: takes {kind}, gets {found}"
            elif not is_widget(kind, options) or not (
                kind == DYNAMIC_COMBO or fits(given[name], kind, options)
            ):
                yield f"{id}.{name}: {given[name]!r} is no {kind}"


@pytest.mark.parametrize("path", CANVASES, ids=lambda path: path.stem)
def test_a_saved_canvas_gives_the_graph_that_the_browser_made(path: Path) -> None:
    saved = load(path)
    ours = to_prompt(saved["workflow"], SCHEMAS)
    for node in (*ours.values(), *saved["prompt"].values()):
        assert node.pop("_meta")["title"]
    assert ours == saved["prompt"]
    assert {node["class_type"] for node in ours.values()} == {path.stem}


def test_every_node_has_a_saved_canvas() -> None:
    ours = {name for name in SCHEMAS if name.startswith("ReconX_")}
    assert {path.stem for path in CANVASES} == ours, "run python tools/freeze_canvases.py"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_shipped_workflow_fits_the_schemas(path: Path) -> None:
    prompt = to_prompt(load(path), SCHEMAS)
    assert any(node["class_type"].startswith("ReconX_") for node in prompt.values())
    assert {problem.split(": ")[1] for problem in problems(prompt)} == _unwired(path)


def _unwired(path: Path) -> set[str]:
    """A subgraph's own inputs are wired by whoever uses it."""
    if path.parent.name == "example_workflows":
        return set()
    return {f"lacks {slot['name']}" for node in load(path)["nodes"] for slot in node["inputs"]}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_shipped_workflow_has_a_value_for_each_widget(path: Path) -> None:
    for part in parts(load(path)):
        for node in part["nodes"]:
            if node["type"] in SCHEMAS:
                values = [*(node.get("widgets_values") or []), END]
                _, left = read_widgets(SCHEMAS[node["type"]], values)
                assert left == [END], f"{node['id']} ({node['type']}): {values[:-1]}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_shipped_workflow_knows_its_links_on_both_ends(path: Path) -> None:
    for part in parts(load(path)):
        links = [link if isinstance(link, list) else list(link.values()) for link in part["links"]]
        into = {
            (slot["link"], node["id"])
            for node in part["nodes"]
            for slot in node.get("inputs", [])
            if slot.get("link") is not None
        }
        out_of = {
            (id, node["id"])
            for node in part["nodes"]
            for slot in node.get("outputs", [])
            for id in slot.get("links") or []
        }
        # Negative ids are a subgraph's frame.
        assert {(link[0], link[3]) for link in links if link[3] >= 0} == into
        assert {(link[0], link[1]) for link in links if link[1] >= 0} == out_of


def test_shipped_workflows_explain_themselves() -> None:
    for path in WORKFLOWS:
        if path.parent.name == "example_workflows":
            assert path.with_suffix(".jpg").is_file(), path.name
            assert any(node["type"] in NOTES for node in load(path)["nodes"]), path.name


def cloud_prompt() -> Prompt:
    return {
        "1": {"class_type": "ReconX_LoadPhotos", "inputs": {"source": "sample-room"}},
        "2": {"class_type": "ReconX_BuildPointCloud", "inputs": {"photos": ["1", 0], "seed": 3}},
    }


def test_inputs_are_set_by_id_and_by_type() -> None:
    prompt = cloud_prompt()
    set_input(prompt, SCHEMAS, "2.seed=7")
    set_input(prompt, SCHEMAS, "ReconX_LoadPhotos.source=folder")
    set_input(prompt, SCHEMAS, "1.source.folder=a=b")
    assert prompt["2"]["inputs"]["seed"] == 7
    assert prompt["2"]["inputs"]["photos"] == ["1", 0]
    assert prompt["1"]["inputs"]["source.folder"] == "a=b"
    assert list(problems(prompt)) == []


@pytest.mark.parametrize("wrong", ["2.sede=7", "3.seed=7", "seed=7", "2.seed", "1.source.folder=x"])
def test_an_input_that_is_not_there_cannot_be_set(wrong: str) -> None:
    with pytest.raises(WorkflowError):
        set_input(cloud_prompt(), SCHEMAS, wrong)


def test_a_node_that_the_host_lacks_is_named() -> None:
    workflow = {"nodes": [{"id": 4, "type": "Other", "mode": 0}], "links": []}
    with pytest.raises(WorkflowError, match=r"node 4: .*'Other'"):
        to_prompt(workflow, SCHEMAS)
