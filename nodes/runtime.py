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
PIPELINE_INDEX = "model_index.json"
"""What a folder of diffusers' layout holds."""
DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""Of weights."""


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


def model_files(kind: str) -> list[str]:
    """Weights in one of the host's model folders, which is made known to the host by this call."""
    import folder_paths

    place = str(Path(folder_paths.models_dir) / kind)
    folder_paths.add_model_folder_path(kind, place)
    names = folder_paths.get_filename_list(kind)
    return [name for name in names if Path(name).suffix in folder_paths.supported_pt_extensions]


def model_path(kind: str, name: str) -> Path:
    """A file that `model_files` has listed."""
    import folder_paths

    return Path(folder_paths.get_full_path_or_raise(kind, name))


def host_dtype(name: str) -> torch.dtype:
    """The dtype of a name in `DTYPES`; auto is bfloat16 where the host's device is good at it."""
    import comfy.model_management

    if name == "auto":
        device = comfy.model_management.get_torch_device()
        name = "bf16" if comfy.model_management.should_use_bf16(device) else "fp32"
    return DTYPES[name]


def manage(network: torch.nn.Module) -> Any:
    """The host's handle of a network, by which it loads, counts and unloads it.

    One for as long as the network lives: of a network that outlives its handle, the host believes
    that it leaks.
    """
    import comfy.model_management
    from comfy.model_patcher import ModelPatcher

    handle = getattr(network, "host_handle", None)
    if handle is None:
        # Not its dynamic kind, which loads layers one by one and needs them to be of its own kind.
        handle = ModelPatcher(
            network,
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )
        network.__dict__["host_handle"] = handle
    return handle


class ManagedModel:
    """A model of the library whose network the host loads, offloads and unloads like its own."""

    def __init__(self, model: Any, network: torch.nn.Module) -> None:
        """Hand the network over; it lies where the host keeps models that rest."""
        self.model = model
        # The host's cache looks for this name.
        self.patcher = manage(network)

    def load(self, megabytes: float) -> None:
        """Bring the network to its device, with room for the work beside it."""
        import comfy.model_management

        comfy.model_management.load_models_gpu(
            [self.patcher], memory_required=megabytes * 1e6, force_full_load=True
        )
        # With --novram the host leaves layers behind that it cannot stream.
        self.patcher.model.to(self.patcher.load_device)


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


def model_folders() -> list[str]:
    """Pipelines in the host's folders for diffusers: names relative to those."""
    import folder_paths

    found = set()
    for root in map(Path, folder_paths.get_folder_paths("diffusers")):
        found |= {index.parent.relative_to(root).as_posix() for index in root.rglob(PIPELINE_INDEX)}
    return sorted(found - {"."})


def model_folder(name: str) -> Path:
    """Where a pipeline of `model_folders` lies; in the first folder where it lies in none."""
    import folder_paths

    places = [Path(root) / name for root in folder_paths.get_folder_paths("diffusers")]
    return next((place for place in places if (place / PIPELINE_INDEX).is_file()), places[0])


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
