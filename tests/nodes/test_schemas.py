"""What saved workflows rely on: the rules for schemas, and that a break of them is noticed."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from comfy_workflow import DYNAMIC_COMBO, is_widget, specs
from freeze_schemas import breaks, read_schemas

Json = dict[str, Any]


def example() -> dict[str, Json]:
    """A node with every kind of input that a schema can nest."""
    nested = {"required": {"path": ["STRING", {"default": ""}]}}
    keyframe = {"required": {"camera": ["LOAD3D_CAMERA", {}]}}
    required = {
        "scene": ["RECONX_SCENE", {}],
        "size": ["INT", {"default": 4, "min": 1, "max": 9}],
        "format": ["COMBO", {"options": ["a", "b"]}],
        "source": [DYNAMIC_COMBO, {"options": [{"key": "folder", "inputs": nested}]}],
    }
    template = {"input": keyframe, "prefix": "keyframe", "min": 0, "max": 50}
    optional = {"keyframes": ["COMFY_AUTOGROW_V3", {"template": template}]}
    return {
        "ReconX_Example": {
            "name": "ReconX_Example",
            "output": ["IMAGE", "MASK"],
            "output_name": ["images", "holes"],
            "output_is_list": [False, False],
            "output_node": False,
            "input": {"required": required, "optional": optional},
        }
    }


def renamed(inputs: Json, old: str, new: str) -> None:
    entries = [(new if name == old else name, spec) for name, spec in inputs.items()]
    inputs.clear()
    inputs.update(entries)


def reordered(inputs: Json) -> None:
    entries = list(inputs.items())
    inputs.clear()
    inputs.update(reversed(entries))


def choice(node: Json) -> Json:
    return node["input"]["required"]["source"][1]["options"][0]


def template(node: Json) -> Json:
    return node["input"]["optional"]["keyframes"][1]["template"]


BREAKS: dict[str, Callable[[Json], Any]] = {
    "an input is removed": lambda node: node["input"]["required"].pop("size"),
    "an input is renamed": lambda node: renamed(node["input"]["required"], "size", "width"),
    "inputs change places": lambda node: reordered(node["input"]["required"]),
    "a type changes": lambda node: node["input"]["required"].update(scene=["RECONX_VIEWS", {}]),
    "a default changes": lambda node: node["input"]["required"]["size"][1].update(default=5),
    "a range shrinks": lambda node: node["input"]["required"]["size"][1].update(max=8),
    "a value is gone": lambda node: node["input"]["required"]["format"][1]["options"].pop(),
    "a required input is new": lambda node: node["input"]["required"].update(new=["INT", {}]),
    "an optional input comes first": lambda node: node["input"].update(
        optional={"new": ["MASK", {}], **node["input"]["optional"]}
    ),
    "a widget gets a control": lambda node: node["input"]["required"]["size"][1].update(
        control_after_generate=True
    ),
    "a choice is renamed": lambda node: choice(node).update(key="directory"),
    "a child is renamed": lambda node: renamed(choice(node)["inputs"]["required"], "path", "name"),
    "a child's default changes": lambda node: choice(node)["inputs"]["required"]["path"][1].update(
        default="."
    ),
    "a growing input is renamed": lambda node: template(node).update(prefix="camera"),
    "a growing input's type changes": lambda node: template(node)["input"]["required"].update(
        camera=["STRING", {}]
    ),
    "outputs change places": lambda node: node["output_name"].reverse(),
    "an output's type changes": lambda node: node["output"].__setitem__(1, "IMAGE"),
    "an output is removed": lambda node: node["output"].pop(),
}


@pytest.mark.parametrize("change", BREAKS.values(), ids=BREAKS)
def test_a_break_is_noticed(change: Callable[[Json], Any]) -> None:
    new = example()
    change(new["ReconX_Example"])
    assert len(list(breaks(example(), new))) > 0


def test_a_removed_node_is_noticed() -> None:
    assert list(breaks(example(), {})) == ["ReconX_Example: gone"]


def test_what_comes_last_breaks_nothing() -> None:
    new = copy.deepcopy(example())
    node = new["ReconX_Example"]
    node["input"]["optional"]["mask"] = ["MASK", {}]
    node["input"]["required"]["size"][1]["max"] = 99
    node["input"]["required"]["format"][1]["options"].append("c")
    node["input"]["required"]["source"][1]["options"].append({"key": "files", "inputs": {}})
    node["output"].append("INT")
    node["output_name"].append("count")
    node["output_is_list"].append(False)
    assert list(breaks(example(), new)) == []


@pytest.mark.parametrize("name", read_schemas())
def test_a_dynamic_combo_is_the_last_widget(name: str) -> None:
    """Its children's values are stored right behind its own: what follows would move."""
    inputs = read_schemas()[name]["input"]
    widgets = [kind for _, kind, options in specs(inputs) if is_widget(kind, options)]
    assert DYNAMIC_COMBO not in widgets[:-1]
    assert name.startswith("ReconX_")
