"""ComfyUI's workflow files: the canvas format, as the browser saves it, to the API format.

The canvas stores a node's widget values by position, so reading them takes the schema of every
node, as the host's `/object_info` gives it. Widgets that the browser alone adds to some core nodes
(CustomCombo, Painter) are not known here. Owns no running host. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Schemas = dict[str, Json]
"""Per node type its inputs and outputs, in the shape of `/object_info`."""
Prompt = dict[str, Json]
"""A graph in API format: per node id its `class_type` and `inputs`."""

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
WIDGET_TYPES = frozenset(
    {
        *("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", "COLOR", "MARKDOWN", "TEXTAREA"),
        *("BOUNDING_BOX", "CURVE", "RANGE", "LOAD_3D", "IMAGECOMPARE", DYNAMIC_COMBO),
    }
)
"""Types that the canvas shows as a widget, and so stores a value for."""
NOTES = frozenset({"Note", "MarkdownNote"})
MUTED, BYPASSED = 2, 4
SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS = -10, -20
"""Inside a subgraph, links from and to its frame have these node ids."""
UPLOADS = ("image_upload", "video_upload", "animated_image_upload")


class WorkflowError(ValueError):
    """A workflow that cannot be read, or that does not fit the nodes."""


@dataclass(frozen=True)
class Widget:
    """One widget of a node on a canvas."""

    name: str
    """The input's name in API format; a DynamicCombo's children have its name before theirs."""
    kind: str
    options: Json
    """Default, range, values of a combo ..."""
    value: Any


def read_workflow(path: Path, schemas: Schemas) -> Prompt:
    """Read a workflow file of either format.

    Raises:
        WorkflowError: If it is neither, or holds a node without a schema.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(document, dict) and isinstance(document.get("nodes"), list):
        return to_prompt(document, schemas)
    if isinstance(document, dict) and all(
        isinstance(node, dict) and "class_type" in node for node in document.values()
    ):
        return document
    raise WorkflowError(f"{path.name} is no ComfyUI workflow, neither of the canvas nor of the API")


def to_prompt(workflow: Json, schemas: Schemas) -> Prompt:
    """Turn a workflow of the canvas into a graph that the host can queue.

    Subgraphs are flattened as the browser does it: ids of inner nodes are `outer:inner`.
    """
    definitions = workflow.get("definitions", {}).get("subgraphs", [])
    subgraphs = {definition["id"]: definition for definition in definitions}
    prompt: Prompt = {}
    for scope in _Scope(workflow, schemas, subgraphs).all():
        for node in scope.runnable():
            title = node.get("title") or scope.schema(node).get("display_name", node["type"])
            prompt[scope.path(node["id"])] = {
                "class_type": node["type"],
                "inputs": scope.inputs(node),
                "_meta": {"title": title},
            }
    for node in prompt.values():
        node["inputs"] = {
            name: value
            for name, value in node["inputs"].items()
            if not is_link(value) or value[0] in prompt
        }
    return prompt


def is_link(value: Any) -> bool:
    """Whether an input of the API format comes from another node: a node id and an output."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def read_widgets(schema: Json, values: list[Any]) -> tuple[list[Widget], list[Any]]:
    """Give a node's stored widget values their names.

    Args:
        schema: The node's.
        values: As stored: by position, a combo's children right behind it, and one more value
            behind each widget that can change after a run.

    Returns:
        The widgets, those without a stored value with their default; and the values left over.
    """
    rest = iter(values)
    widgets = list(_widgets(schema["input"], rest, prefix=""))
    return widgets, list(rest)


def set_input(prompt: Prompt, schemas: Schemas, assignment: str) -> None:
    """Change one input of a graph in place.

    Args:
        prompt: The graph.
        schemas: Of its nodes.
        assignment: `NODE.INPUT=VALUE`. NODE is an id, or a type that only one node has. VALUE is
            read as JSON, and as text where it is none.

    Raises:
        WorkflowError: If there is no such node or input.
    """
    target, equals, text = assignment.partition("=")
    node_name, dot, name = target.partition(".")
    if not (equals and dot and name):
        raise WorkflowError(f"{assignment!r} is not of the form NODE.INPUT=VALUE")
    node = _find_node(prompt, node_name)
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    node["inputs"][name] = value
    # A new choice of a DynamicCombo brings new children: those that are not set get defaults.
    fitting = _fit_choices(schemas[node["class_type"]]["input"], node["inputs"], prefix="")
    if name not in fitting:
        known = ", ".join(sorted(fitting))
        raise WorkflowError(f"{node['class_type']} has no input {name!r} now; it has: {known}")
    node["inputs"] = fitting | {k: v for k, v in node["inputs"].items() if is_link(v)}


def specs(inputs: Json) -> Iterator[tuple[str, str, Json]]:
    """(name, type, options) of a schema's inputs in the order in which the canvas shows them."""
    for part in ("required", "optional"):
        for name, spec in inputs.get(part, {}).items():
            options = spec[1] if len(spec) > 1 else {}
            if isinstance(spec[0], list):  # The older way to write a combo.
                yield name, "COMBO", {"options": spec[0], **options}
            else:
                yield name, options.get("widgetType", spec[0]), options


def is_widget(kind: str, options: Json) -> bool:
    """Whether the canvas shows an input as a widget rather than as a socket alone."""
    return kind in WIDGET_TYPES and not options.get("forceInput")


def choice_inputs(options: Json, key: Any) -> Json:
    """The inputs that a DynamicCombo shows for one of its values."""
    for option in options["options"]:
        if option["key"] == key:
            return option["inputs"]
    raise WorkflowError(f"{key!r} is none of {[option['key'] for option in options['options']]}")


def _widgets(inputs: Json, values: Iterator[Any], prefix: str) -> Iterator[Widget]:
    required = inputs.get("required", {})
    for name, kind, options in specs(inputs):
        if not is_widget(kind, options):
            continue
        value = next(values, _default(kind, options))
        yield Widget(prefix + name, kind, options, value)
        for _ in range(_control_widgets(prefix + name, kind, options)):
            next(values, None)
        if kind == DYNAMIC_COMBO:
            yield from _widgets(choice_inputs(options, value), values, f"{prefix}{name}.")
        # The browser puts its upload button behind the last required widget.
        if not prefix and name == next(reversed(required), None) and _has_upload(required):
            next(values, None)


def _fit_choices(inputs: Json, given: Json, prefix: str) -> Json:
    """What a node's inputs are worth: those given, and the defaults of the widgets that are not."""
    found: Json = {}
    for name, kind, options in specs(inputs):
        name = prefix + name
        if is_widget(kind, options):
            found[name] = given.get(name, _default(kind, options))
        elif name in given:
            found[name] = given[name]
        if kind == DYNAMIC_COMBO:
            found |= _fit_choices(choice_inputs(options, found[name]), given, f"{name}.")
    return found


def _default(kind: str, options: Json) -> Any:
    if "default" in options:
        return options["default"]
    choices: list[Any] = options.get("options") or [""]
    return choices[0]["key"] if kind == DYNAMIC_COMBO else choices[0]


def _control_widgets(name: str, kind: str, options: Json) -> int:
    """How many widgets that change a value after each run stand behind it."""
    controlled = options.get("control_after_generate")
    if kind == "INT":
        return int(name in ("seed", "noise_seed") if controlled is None else bool(controlled))
    # A combo's control has a filter too.
    return 2 if kind == "COMBO" and controlled else 0


def _has_upload(required: Json) -> bool:
    return any(
        kind == "COMBO" and any(options.get(upload) for upload in UPLOADS)
        for _, kind, options in specs({"required": required})
    )


def _find_node(prompt: Prompt, name: str) -> Json:
    if name in prompt:
        return prompt[name]
    of_type = [node for node in prompt.values() if node["class_type"] == name]
    if len(of_type) != 1:
        known = ", ".join(f"{id} ({node['class_type']})" for id, node in prompt.items())
        raise WorkflowError(f"{name!r} names {len(of_type)} nodes; the graph has: {known}")
    return of_type[0]


@dataclass(frozen=True)
class _Value:
    """A widget value that comes from elsewhere than the node that has the widget."""

    value: Any


@dataclass
class _Scope:
    """One level of a workflow: the canvas itself, or one use of a subgraph on it."""

    graph: Json
    schemas: Schemas
    subgraphs: dict[str, Json]
    outer: _Scope | None = None
    instance: Json = field(default_factory=dict)
    """The node of the outer scope that stands for this one."""

    def __post_init__(self) -> None:
        self.nodes: dict[int | str, Json] = {node["id"]: node for node in self.graph["nodes"]}
        self.links = {link["id"]: link for link in map(_as_dict, self.graph["links"])}
        self.promoted, self.overrides = self._values_of_instance()
        self.inner = {
            id: _Scope(self.subgraphs[node["type"]], self.schemas, self.subgraphs, self, node)
            for id, node in self.nodes.items()
            if node["type"] in self.subgraphs and not _is_off(node)
        }

    def all(self) -> Iterator[_Scope]:
        """This scope and those within it."""
        yield self
        for scope in self.inner.values():
            yield from scope.all()

    def path(self, node_id: int | str) -> str:
        """A node's id in API format."""
        if self.outer is None:
            return str(node_id)
        return f"{self.outer.path(self.instance['id'])}:{node_id}"

    def runnable(self) -> Iterator[Json]:
        """The nodes that the host runs."""
        for id, node in self.nodes.items():
            drawn_only = node["type"] in (*NOTES, "Reroute", "PrimitiveNode")
            if not drawn_only and not _is_off(node) and id not in self.inner:
                yield node

    def schema(self, node: Json) -> Json:
        """What the host says of a node's type."""
        if node["type"] not in self.schemas:
            raise WorkflowError(f"node {node['id']}: this ComfyUI has no {node['type']!r}")
        return self.schemas[node["type"]]

    def inputs(self, node: Json) -> Json:
        """A node's inputs in API format."""
        found = self._widget_values(node)
        for slot in node.get("inputs", []):
            source = self._source(slot["link"]) if slot.get("link") is not None else None
            if source is not None:
                found[slot["name"]] = source
        return {name: _wrapped(value) for name, value in found.items()}

    def _widget_values(self, node: Json) -> Json:
        widgets, _ = read_widgets(self.schema(node), node.get("widgets_values") or [])
        set_outside = self.overrides.get(str(node["id"]), {})
        return {widget.name: set_outside.get(widget.name, widget.value) for widget in widgets}

    def _source(self, link_id: int) -> _Value | list[Any] | None:
        """Where a link's value really comes from, through everything that only passes it on."""
        link = self.links[link_id]
        slot = link["origin_slot"]
        if link["origin_id"] == SUBGRAPH_INPUTS:
            return self._source_outside(self.graph["inputs"][slot]["name"])
        node = self.nodes[link["origin_id"]]
        if node.get("mode") == MUTED:
            return None
        if node.get("mode") == BYPASSED or node["type"] == "Reroute":
            passed = _passed_input(node, slot)
            return None if passed is None else self._source(passed)
        if node["type"] == "PrimitiveNode":
            return _Value(node["widgets_values"][0])
        if node["id"] in self.inner:
            return self.inner[node["id"]]._source_inside(slot)
        return [self.path(node["id"]), slot]

    def _source_outside(self, name: str) -> _Value | list[Any] | None:
        """What an input of this subgraph is given, else the value of the widget that shows it."""
        assert self.outer is not None
        slots = (slot for slot in self.instance.get("inputs", []) if slot["name"] == name)
        link = next(slots, {}).get("link")
        source = None if link is None else self.outer._source(link)
        if source is not None:
            return source
        if name in self.promoted:
            return _Value(self.promoted[name])
        for node, widget in self._fed_widgets(name):
            if node["id"] not in self.inner:
                return _Value(self._widget_values(node)[widget])
        return None

    def _source_inside(self, slot: int) -> _Value | list[Any] | None:
        for id, link in self.links.items():
            if link["target_id"] == SUBGRAPH_OUTPUTS and link["target_slot"] == slot:
                return self._source(id)
        return None

    def _values_of_instance(self) -> tuple[Json, dict[str, Json]]:
        """Values that the node of a subgraph sets inside it: by subgraph input, by inner widget."""
        values = self.instance.get("widgets_values") or []
        shown = self.instance.get("properties", {}).get("proxyWidgets")
        if shown is None:
            names = [slot["name"] for slot in self.graph.get("inputs", [])]
            names = [name for name in names if any(self._fed_widgets(name))]
            return dict(zip(names, values, strict=False)), {}
        overrides: dict[str, Json] = {}
        for (node_id, name, *_), value in zip(shown, values, strict=False):
            if value is not None:  # Else the inner widget's own counts.
                overrides.setdefault(str(node_id), {})[name] = value
        return overrides.pop("-1", {}), overrides

    def _fed_widgets(self, subgraph_input: str) -> Iterator[tuple[Json, str]]:
        """The inner nodes, with the widget's name, that an input of this subgraph sets."""
        for slot in self.graph["inputs"]:
            for id in slot.get("linkIds") or [] if slot["name"] == subgraph_input else []:
                node = self.nodes.get(self.links[id]["target_id"], {})
                for inner in node.get("inputs", []):
                    if inner.get("link") == id and "widget" in inner:
                        yield node, inner["name"]


def _as_dict(link: Json | list[Any]) -> Json:
    """A link of either notation."""
    if isinstance(link, dict):
        return link
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return dict(zip(names, link, strict=True))


def _is_off(node: Json) -> bool:
    return node.get("mode") in (MUTED, BYPASSED)


def _passed_input(node: Json, slot: int) -> int | None:
    """The link that a bypassed node hands on as its output: the same slot's, else the type's."""
    inputs = node.get("inputs", [])
    kind = node["outputs"][slot]["type"]
    if node["type"] == "Reroute":
        return inputs[0]["link"]
    candidates = [*inputs[slot : slot + 1], *inputs]
    fitting = [one for one in candidates if one["type"] == kind or "*" in (one["type"], kind)]
    return fitting[0].get("link") if fitting else None


def _wrapped(value: _Value | Any) -> Any:
    """A value as the API format writes it, which takes a bare list for a link."""
    if isinstance(value, _Value):
        value = value.value
        return {"__value__": value} if isinstance(value, list) else value
    return value
