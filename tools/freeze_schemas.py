"""The frozen schemas of the pack's nodes: what saved workflows rely on.

    python tools/freeze_schemas.py             renews tests/nodes/schemas from a running host
    python tools/freeze_schemas.py --breaking  also where that breaks saved workflows

Run it after a change to a node, and after a shipped workflow begins to use another core node: those
are kept too, so that tests can read shipped workflows without a host.

Workflows keep widget values by position and links by name and type. So node ids, inputs, outputs,
types, defaults and values of a combo stay as they are; what is new comes last. One JSON file per
node holds just that, in the shape of the host's `/object_info`; tooltips and labels may change.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from comfy_host import PACK, Host, HostError, find_comfyui, find_python

Json = dict[str, Any]

FOLDER = PACK / "tests" / "nodes" / "schemas"
WORKFLOWS = sorted(
    path for folder in ("example_workflows", "subgraphs") for path in (PACK / folder).glob("*.json")
)
"""What the pack ships."""
PREFIX = "ReconX_"
"""Every node id of the pack begins so."""
KEPT_OPTIONS = (
    *("default", "min", "max", "step", "options", "template", "forceInput", "widgetType"),
    *("control_after_generate", "multiselect", "image_upload", "video_upload"),
)


def main(arguments: list[str] | None = None) -> int:
    """Renew the files; 1 if that would break saved workflows and was not asked for."""
    options = _parser().parse_args(arguments)
    try:
        comfyui = find_comfyui(options.comfyui)
        with tempfile.TemporaryDirectory() as empty:
            # No input files and no models: combos that list files have no values then.
            python = find_python(comfyui, options.python)
            with Host(comfyui, python, inputs=Path(empty), models=Path(empty), cpu=True) as host:
                object_info = host.object_info()
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    new = frozen_schemas(object_info)
    broken = list(breaks(read_schemas(), new))
    print("\n".join(broken) or "Nothing that saved workflows rely on has changed.")
    if broken and not options.breaking:
        print("Nothing written; --breaking writes it.", file=sys.stderr)
        return 1
    _write(FOLDER, new)
    _write(FOLDER / "core", _core_schemas(object_info))
    return 0


def read_schemas() -> dict[str, Json]:
    """The frozen schemas of the pack's nodes by node id."""
    return _read(FOLDER)


def read_all_schemas() -> dict[str, Json]:
    """These, and those of the core nodes that the example workflows use."""
    return _read(FOLDER) | _read(FOLDER / "core")


def frozen_schemas(object_info: dict[str, Json]) -> dict[str, Json]:
    """What is frozen of the pack's nodes, as the host describes them."""
    ours = {name: info for name, info in object_info.items() if name.startswith(PREFIX)}
    return {name: _frozen(info) for name, info in sorted(ours.items())}


def breaks(old: dict[str, Json], new: dict[str, Json]) -> Iterator[str]:
    """What of the new schemas breaks workflows that were saved with the old ones."""
    for name, schema in old.items():
        if name not in new:
            yield f"{name}: gone"
            continue
        now = new[name]
        yield from _input_breaks(name, schema["input"], now["input"])
        yield from _prefix_breaks(f"{name}: outputs", schema["output"], now["output"])
        yield from _prefix_breaks(f"{name}: outputs", schema["output_name"], now["output_name"])
        if schema["output_is_list"] != now["output_is_list"][: len(schema["output_is_list"])]:
            yield f"{name}: an output is a list, or no longer is"


def _read(folder: Path) -> dict[str, Json]:
    paths = sorted(folder.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def _write(folder: Path, schemas: dict[str, Json]) -> None:
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink()
    for name, schema in schemas.items():
        text = json.dumps(schema, indent=1) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def _core_schemas(object_info: dict[str, Json]) -> dict[str, Json]:
    used: set[str] = set()
    for path in WORKFLOWS:
        document = json.loads(path.read_text(encoding="utf-8"))
        for part in (document, *document.get("definitions", {}).get("subgraphs", [])):
            used.update(node["type"] for node in part["nodes"])
    core = {name for name in used & set(object_info) if not name.startswith(PREFIX)}
    return {name: _frozen(object_info[name]) for name in sorted(core)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Renew the frozen schemas of the pack's nodes.")
    parser.add_argument("--breaking", action="store_true", help="write what breaks workflows too")
    parser.add_argument("--comfyui", help="ComfyUI's folder")
    parser.add_argument("--python", help="the Python that runs ComfyUI")
    return parser


def _frozen(info: Json) -> Json:
    kept = {name: info[name] for name in ("name", "output", "output_name", "output_is_list")}
    return {**kept, "output_node": info["output_node"], "input": _frozen_inputs(info["input"])}


def _frozen_inputs(inputs: Json) -> Json:
    return {
        part: {name: [spec[0], _frozen_options(*spec[1:])] for name, spec in inputs[part].items()}
        for part in ("required", "optional")
        if inputs.get(part)
    }


def _frozen_options(options: Json | None = None) -> Json:
    kept = {name: value for name, value in (options or {}).items() if name in KEPT_OPTIONS}
    if any(isinstance(option, dict) for option in kept.get("options", [])):
        kept["options"] = [
            {"key": option["key"], "inputs": _frozen_inputs(option["inputs"])}
            for option in kept["options"]
        ]
    if "template" in kept:
        template = kept["template"]
        kept["template"] = template | {"input": _frozen_inputs(template["input"])}
    return kept


def _input_breaks(where: str, old: Json, new: Json) -> Iterator[str]:
    for part in ("required", "optional"):
        before, now = old.get(part, {}), new.get(part, {})
        yield from _prefix_breaks(f"{where}: {part} inputs", list(before), list(now))
        if part == "required" and len(now) > len(before):
            yield f"{where}: new required inputs {list(now)[len(before) :]}; make them optional"
        for name in set(before) & set(now):
            yield from _spec_breaks(f"{where}.{name}", before[name], now[name])


def _spec_breaks(where: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    before, now = old[1], new[1]
    if old[0] != new[0]:
        yield f"{where}: type {old[0]}, now {new[0]}"
    for name in set(KEPT_OPTIONS) - {"options", "template", "min", "max", "step"}:
        if before.get(name) != now.get(name):
            yield f"{where}: {name} {before.get(name)!r}, now {now.get(name)!r}"
    if "min" in before and now.get("min", before["min"]) > before["min"]:
        yield f"{where}: min {before['min']}, now {now['min']}"
    if "max" in before and now.get("max", before["max"]) < before["max"]:
        yield f"{where}: max {before['max']}, now {now['max']}"
    if "template" in before:
        yield from _template_breaks(where, before["template"], now.get("template", {}))
    yield from _choice_breaks(where, before.get("options", []), now.get("options", []))


def _choice_breaks(where: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    if not any(isinstance(choice, dict) for choice in old):
        yield from _prefix_breaks(f"{where}: values", old, new)
        return
    before = {choice["key"]: choice["inputs"] for choice in old}
    now = {choice["key"]: choice["inputs"] for choice in new}
    yield from _prefix_breaks(f"{where}: values", list(before), list(now))
    for key in set(before) & set(now):
        yield from _input_breaks(f"{where}[{key}]", before[key], now[key])


def _template_breaks(where: str, old: Json, new: Json) -> Iterator[str]:
    for name in ("prefix", "min"):
        if old.get(name) != new.get(name):
            yield f"{where}: {name} of its inputs {old.get(name)!r}, now {new.get(name)!r}"
    if new.get("max", 0) < old.get("max", 0):
        yield f"{where}: at most {old['max']} inputs, now {new.get('max')}"
    yield from _prefix_breaks(f"{where}: names", old.get("names", []), new.get("names", []))
    yield from _input_breaks(where, old["input"], new.get("input", {}))


def _prefix_breaks(where: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    """New entries may only follow the old ones, which stay as they are."""
    for before, now in zip_longest(old, new[: len(old)]):
        if before != now:
            yield f"{where}: {before!r} stood where {now!r} stands now"
            return


if __name__ == "__main__":
    sys.exit(main())
