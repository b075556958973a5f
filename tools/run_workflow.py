"""Run a ComfyUI workflow without a browser, on a host that knows this pack, and keep its files.

    python tools/run_workflow.py example_workflows/NAME.json --output out
    python tools/run_workflow.py FILE --output out --set ReconX_LoadPhotos.max_size=800

The host is the one named by --comfyui or $COMFYUI_PATH, the one in whose custom_nodes this pack
lies, or ~/comfy/ComfyUI. It runs with this pack alone, in folders of its own.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

# The Python of ComfyUI's portable package does not look in a script's own folder.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from comfy_events import Event  # noqa: E402
from comfy_host import Host, HostError, Outcome, find_comfyui, find_python  # noqa: E402
from comfy_workflow import Prompt, WorkflowError, read_workflow, set_input  # noqa: E402

PROGRESS_SECONDS = 2.0
"""Least time between two lines about one node's steps."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; 0 if the whole graph ran."""
    options = _parser().parse_args(arguments)
    try:
        comfyui = find_comfyui(options.comfyui)
        python = find_python(comfyui, options.python)
        _say(f"Starting {comfyui} with {python}")
        with Host(comfyui, python) as host:
            schemas = host.object_info()
            prompt = read_workflow(options.file, schemas)
            for assignment in options.set:
                set_input(prompt, schemas, assignment)
            outcome = run_prompt(host, prompt, options.timeout)
            _collect(host, prompt, outcome, options.output)
    except (HostError, WorkflowError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if outcome.status != "success":
        print(outcome.error or "The run was cancelled.", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run a ComfyUI workflow without a browser.")
    parser.add_argument("file", type=Path, help="workflow of the canvas or of the API")
    parser.add_argument("--comfyui", help="ComfyUI's folder")
    parser.add_argument("--python", help="the Python that runs ComfyUI")
    parser.add_argument("--output", type=Path, required=True, help="folder for what is saved")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NODE.INPUT=VALUE",
        help="change an input; NODE is an id, or a type that one node has; may be repeated",
    )
    parser.add_argument("--timeout", type=float, default=3600, help="seconds the run may take")
    return parser


def run_prompt(host: Host, prompt: Prompt, timeout: float) -> Outcome:
    """Run a graph to its end, and print how it goes."""
    start = time.monotonic()
    job = host.queue(prompt)
    progress = _ProgressLines(prompt)
    for event in job.events(timeout):
        progress.tell(event)
    _say(f"Ended after {time.monotonic() - start:.1f} s")
    return job.outcome()


class _ProgressLines:
    """Prints which node runs, what it says, and now and then how far it is."""

    def __init__(self, prompt: Prompt) -> None:
        self._titles = {
            id: node.get("_meta", {}).get("title", node["class_type"])
            for id, node in prompt.items()
        }
        self._told: dict[str, float] = {}

    def tell(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind == "executing" and event.data["node"] in self._titles:
            self._line(event.data["node"], "runs")
        elif event.kind == "progress_text":
            self._line(event.data["node"], event.data["text"])
        elif event.kind == "progress_state":
            for id, state in event.data["nodes"].items():
                recently = now - self._told.get(id, 0) < PROGRESS_SECONDS
                if state["state"] == "running" and state["max"] > 1 and not recently:
                    self._told[id] = now
                    self._line(id, f"{state['value']:.0f} of {state['max']:.0f}")

    def _line(self, id: str, text: str) -> None:
        _say(f"  {id} {self._titles.get(id, '')}: {text}")


def _collect(host: Host, prompt: Prompt, outcome: Outcome, folder: Path) -> None:
    """Copy what the nodes have saved and print one line for each output."""
    for id, shown in outcome.outputs.items():
        label = f"{id} ({prompt[id]['class_type']})" if id in prompt else id
        for path in host.files(shown):
            # Below the host's output or temp folder.
            copy = folder.joinpath(*path.relative_to(host.folder).parts[1:])
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            _say(f"{label}: {copy}")
        for text in shown.get("text", []):
            _say(f"{label}: {text}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
