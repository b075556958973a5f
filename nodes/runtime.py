"""What the host provides to running stages: device, folders, progress with previews, cancelling.

The host's modules are imported inside functions: at import time some of them look for a GPU.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..reconx.export.pictures import to_pil
from ..reconx.progress import CostEstimate, Preview
from ..reconx.saving import find_scenes

PREVIEW_SECONDS = 0.5
"""Least time between two previews; making one costs a render."""
PREVIEW_SIZE = 512
"""Long side of a preview in pixels."""


def library_call(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Run a node's `execute` outside the host's inference mode.

    Tensors made in inference mode cannot take part in a fit later, and a fit needs gradients.
    """

    @functools.wraps(execute)
    def outside(cls: type, *values: Any, **inputs: Any) -> Any:
        with torch.inference_mode(False):
            return execute(cls, *values, **inputs)

    return outside


def host_device() -> str:
    """The torch device on which the host wants work to be done."""
    import comfy.model_management

    return str(comfy.model_management.get_torch_device())


def make_room(megabytes: float) -> None:
    """Let the host unload models until this much of its device is free."""
    import comfy.model_management

    device = comfy.model_management.get_torch_device()
    comfy.model_management.free_memory(megabytes * 1e6, device)


def input_path(name: str) -> Path:
    """A file or folder of the host's input directory; an absolute path is taken as it is.

    A name that ends in " [output]" is one of the output directory. A relative path may not lead out
    of the directory, nor through a link: the host's own check.
    """
    import folder_paths

    path = Path(name.strip())
    return path if path.is_absolute() else Path(folder_paths.get_annotated_filepath(str(path)))


def saved_scenes() -> list[str]:
    """What may be loaded from the host's output and input directories, named as the host does."""
    import folder_paths

    names = []
    for place, mark in (("output", " [output]"), ("input", "")):
        folder = Path(folder_paths.get_directory_by_type(place))
        paths = [path.relative_to(folder) for path in find_scenes(folder)]
        names += [f"{path.as_posix()}{mark}" for path in paths]
    return names


def new_output(filename_prefix: str) -> Path:
    """Where the host's savers would write next: a path with a number, without suffix."""
    import folder_paths

    directory = folder_paths.get_output_directory()
    folder, name, number, *_ = folder_paths.get_save_image_path(filename_prefix, directory)
    return Path(folder) / f"{name}_{number:05}"


def nothing(reason: str) -> Any:
    """The value of an output that has none: a node that needs it shows the reason and stops."""
    from comfy_execution.graph_utils import ExecutionBlocker

    return ExecutionBlocker(reason)


def host_version() -> str:
    """The host's release."""
    import comfyui_version

    return comfyui_version.__version__


class NodeProgress:
    """The library's `Progress`, shown on one node; raises where the user has cancelled."""

    def __init__(self, node_id: str | None, cost: CostEstimate | None = None) -> None:
        """Remember which node shows it, and what the whole work will cost."""
        self._node_id = node_id
        self._cost = cost

    def start(self, stage: str, total: int) -> "_NodeTask":
        """Begin a stage: its name under the node, its steps as the node's bar."""
        self.say(stage if self._cost is None else f"{stage} (in all {self._cost})")
        return _NodeTask(total, self._node_id)

    def say(self, text: str) -> None:
        """Show a line of text on the node."""
        from server import PromptServer

        server = getattr(PromptServer, "instance", None)
        if server is not None and self._node_id is not None:
            server.send_progress_text(text, self._node_id)


class _NodeTask:
    def __init__(self, total: int, node_id: str | None) -> None:
        from comfy.utils import ProgressBar

        self._bar = ProgressBar(max(total, 1), node_id=node_id)
        self._shown = time.monotonic()
        self.update(0)

    def update(self, done: int, preview: Preview | None = None) -> None:
        import comfy.model_management

        comfy.model_management.throw_exception_if_processing_interrupted()
        picture = None
        if preview is not None and time.monotonic() - self._shown > PREVIEW_SECONDS:
            picture = ("JPEG", to_pil(preview()), PREVIEW_SIZE)
            self._shown = time.monotonic()
        self._bar.update_absolute(done, preview=picture)
