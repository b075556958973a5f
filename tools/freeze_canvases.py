"""Canvases as a real browser saves them, one node per choice: what workflows of users look like.

    python tools/freeze_canvases.py              adds those that tests/nodes/canvases lacks
    python tools/freeze_canvases.py --overwrite  makes them all anew, which gives up older ones

Each file holds one canvas with a node of one type per choice of its DynamicCombo, every widget at a
value of its own, and the graph that the browser makes of it for the host. Tests read them without
a host. Needs playwright, and Chromium at --browser.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from comfy_host import PACK, Host, HostError, find_comfyui, find_python
from comfy_workflow import DYNAMIC_COMBO, Schemas, choice_inputs, is_widget, specs
from freeze_schemas import read_schemas
from playwright.sync_api import Page, sync_playwright

Json = dict[str, Any]

FOLDER = PACK / "tests" / "nodes" / "canvases"
CHROMIUM_FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
DRAW = """
async ([type, choices]) => {
  app.graph.clear()
  choices.forEach((values, row) => {
    const node = LiteGraph.createNode(type)
    app.graph.add(node)
    node.pos = [0, 500 * row]
    for (const [name, value] of values)
      node.widgets.find((widget) => widget.name === name).value = value
  })
  const { workflow, output } = await app.graphToPrompt()
  return JSON.stringify({ workflow, prompt: output })
}
"""


def main(arguments: list[str] | None = None) -> int:
    """Draw and save the canvases that are wanted."""
    options = _parser().parse_args(arguments)
    schemas = read_schemas()
    there = set() if options.overwrite else {path.stem for path in FOLDER.glob("*.json")}
    wanted = [name for name in schemas if name not in there]
    if not wanted:
        return 0
    try:
        comfyui = find_comfyui(options.comfyui)
        with tempfile.TemporaryDirectory() as empty:
            python = find_python(comfyui, options.python)
            with Host(comfyui, python, inputs=Path(empty), models=Path(empty), cpu=True) as host:
                canvases = _draw_all(host, options.browser, wanted, schemas)
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    for name, canvas in canvases.items():
        text = json.dumps(canvas, indent=1) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"{name}: {len(canvas['prompt'])} nodes")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Save canvases of every node by a real browser.")
    parser.add_argument("--overwrite", action="store_true", help="make those anew that are there")
    parser.add_argument("--browser", default="/usr/bin/chromium", help="Chromium's program")
    parser.add_argument("--comfyui", help="ComfyUI's folder")
    parser.add_argument("--python", help="the Python that runs ComfyUI")
    return parser


def _draw_all(host: Host, browser: str, wanted: list[str], schemas: Schemas) -> dict[str, Json]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=CHROMIUM_FLAGS)
        page = chromium.new_page()
        page.goto(host.address)
        page.wait_for_function("window.app?.graph && window.app.extensionManager")
        page.wait_for_function(f"'{wanted[0]}' in LiteGraph.registered_node_types")
        canvases = {name: _draw(page, name, schemas[name]) for name in wanted}
        chromium.close()
    return canvases


def _draw(page: Page, name: str, schema: Json) -> Json:
    rows = [list(row.items()) for row in _variants(schema["input"], prefix="")]
    return json.loads(page.evaluate(DRAW, [name, rows]))


def _variants(inputs: Json, prefix: str) -> list[Json]:
    """A value of its own for every widget, once per choice of a DynamicCombo."""
    rows: list[Json] = [{}]
    for name, kind, options in specs(inputs):
        if not is_widget(kind, options):
            continue
        if kind != DYNAMIC_COMBO:
            rows = [row | {prefix + name: _other_value(kind, options, len(row))} for row in rows]
            continue
        rows = [
            row | {prefix + name: choice["key"]} | children
            for row in rows
            for choice in options["options"]
            for children in _variants(
                choice_inputs(options, choice["key"]), prefix=f"{prefix}{name}."
            )
        ]
    return rows


def _other_value(kind: str, options: Json, place: int) -> Any:
    """Not the default, and not what the widgets beside it have."""
    if kind in ("INT", "FLOAT"):
        step = options.get("step", 1)
        return min(options["default"] + (place + 1) * step, options["max"])
    if kind == "BOOLEAN":
        return not options["default"]
    if kind == "COMBO":
        values = options["options"]
        if options.get("multiselect"):
            return [f"photo {place}.jpg"]
        return values[-1] if values else f"file {place}"
    return f"#00000{place}" if kind == "COLOR" else f"text {place}"


if __name__ == "__main__":
    sys.exit(main())
