"""What `make demo` runs: a shipped workflow in a real ComfyUI where one is found, else the library.

    python tools/demo.py --output out/demo
    python tools/demo.py --output out/mine --photos a.jpg b.jpg

Says which of the two it is and why. Photos or a quality of one's own take the library.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from comfy_host import PACK, Host, HostError, Outcome, find_comfyui, find_python
from comfy_workflow import WorkflowError, read_workflow
from run_workflow import run_prompt

WORKFLOW = PACK / "example_workflows" / "Photos to splat (no weights).json"
ROOM = PACK / "assets" / "sample-room" / "images"
TIMEOUT = 3600


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 if it came to its end."""
    parser = argparse.ArgumentParser(description="Photos in, Gaussians out.")
    parser.add_argument("--output", type=Path, required=True, help="folder for what comes out")
    parser.add_argument("--photos", nargs="*", help="photos of your own")
    parser.add_argument("--quality", help="draft, normal or high")
    options = parser.parse_args(arguments)
    if options.photos or options.quality:
        _say("With the library alone, since PHOTOS or QUALITY are given.")
    elif run_in_comfyui(options.output):
        return 0
    photos = options.photos or [str(ROOM / "left.jpg"), str(ROOM / "middle.jpg")]
    return _run_library(photos, options.quality or "draft", options.output)


def run_in_comfyui(output: Path) -> bool:
    """Run the shipped workflow in a real ComfyUI and keep what it saves.

    Returns:
        Whether that went well; if not, one line has said why.
    """
    try:
        comfyui = find_comfyui()
        _say(f"In the ComfyUI in {comfyui}: the workflow '{WORKFLOW.stem}'.")
        with Host(comfyui, find_python(comfyui)) as host:
            outcome = run_prompt(host, read_workflow(WORKFLOW, host.object_info()), TIMEOUT)
            if outcome.status != "success":
                raise HostError(outcome.error or "the run was cancelled")
            saved = _keep_saved(host, outcome, output)
    except (HostError, WorkflowError) as error:
        # The last line of a log is what ended it.
        reason = " ".join(dict.fromkeys([str(error).splitlines()[0], str(error).splitlines()[-1]]))
        _say(f"With the library alone, since ComfyUI did not do it: {reason}")
        return False
    _say(f"Done. Look at {saved['.mp4']} first; open {saved['.ply']} in any splat viewer.")
    return True


def _keep_saved(host: Host, outcome: Outcome, output: Path) -> dict[str, Path]:
    """Copy what the graph has saved, without its previews; by suffix where it lies now."""
    saved = {}
    for shown in outcome.outputs.values():
        for path in host.files(shown):
            if path.is_relative_to(host.folder / "output"):
                output.mkdir(parents=True, exist_ok=True)
                saved[path.suffix] = Path(shutil.copyfile(path, output / path.name))
    return saved


def _run_library(photos: list[str], quality: str, output: Path) -> int:
    command = [sys.executable, "-m", "reconx", "reconstruct", *photos, "--output", str(output)]
    code = subprocess.run([*command, "--quality", quality, "--overwrite"]).returncode
    if code == 0:
        _say(
            f"Done. Look at {output / 'overview.png'} first; open {output / 'splats.ply'} in any "
            "splat viewer."
        )
    return code


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
