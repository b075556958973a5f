"""A pipeline of diffusers in memory: loaded once, on the device only while it works."""

import gc
import importlib
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from packaging.version import Version

from ....errors import InputError
from ....progress import Progress
from ...model_options import ModelOptions
from .folder import ModelFolder

logger = logging.getLogger("reconx")

ACTIVATIONS_MB = 3000.0
"""Device memory beside the weights that a usual clip takes."""
GROUP_MB = 1000.0
"""Weights that lie on the device at once with the offload "group"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineKind:
    """Which pipeline a backbone drives."""

    name: str
    """Class in diffusers."""
    denoiser: str
    """Component that denoises."""
    denoiser_class: str
    """Its class; tells one family of models from another."""
    full_precision: tuple[str, ...] = ()
    """Components that lose too much in half precision."""


class PipelineHolder:
    """Keeps a pipeline between clips, off the device.

    It is dropped with `release`, and where another pipeline would not fit into memory beside it.
    """

    _loaded: "weakref.WeakSet[PipelineHolder]" = weakref.WeakSet()
    """All that hold one."""

    def __init__(
        self,
        kind: PipelineKind,
        folder: ModelFolder,
        options: ModelOptions,
        pipeline_class: Callable[[], Any],
    ) -> None:
        """Load nothing yet.

        Args:
            kind: What to load.
            folder: From where.
            options: How.
            pipeline_class: Gives the class of `kind`, or one derived from it.
        """
        self._kind = kind
        self._folder = folder
        self._options = options
        self._pipeline_class = pipeline_class
        self._pipeline: Any = None
        self._device = torch.device("cpu")

    @contextmanager
    def on(
        self, device: torch.device, progress: Progress, *, beside_megabytes: float = 0
    ) -> Iterator[Any]:
        """The pipeline, ready to work on a device; nothing of it stays there afterwards.

        Args:
            device: Where it works.
            progress: Told if it must be loaded.
            beside_megabytes: What other weights take on the device meanwhile, 1e6 bytes.
        """
        if device != self._device:
            self.release()
            self._device = device
        if self._options.make_room is not None and is_apart(device):
            own = self._device_megabytes()
            self._options.make_room(own + beside_megabytes + ACTIVATIONS_MB)
        if self._pipeline is None:
            self._pipeline = self._load(progress)
        pipeline = self._pipeline
        whole = self._options.offload == "none" and is_apart(device)
        try:
            if whole:
                pipeline.to(device)
            yield pipeline
        finally:
            pipeline.maybe_free_model_hooks()
            if whole:
                pipeline.to("cpu")
                torch.get_device_module(device).empty_cache()

    def release(self) -> None:
        """Give the memory back."""
        self._pipeline = None
        self._loaded.discard(self)
        gc.collect()  # hooks and modules refer to each other

    def _megabytes(self) -> Mapping[str, float]:
        """What each component takes in memory."""
        plain = choose_dtype(self._options.dtype, self._device).itemsize
        return {
            name: count * (4 if name in self._kind.full_precision else plain) / 1e6
            for name, count in self._folder.values.items()
        }

    def _device_megabytes(self) -> float:
        sizes = self._megabytes().values()
        if self._options.offload == "group":
            return GROUP_MB
        return sum(sizes) if self._options.offload == "none" else max(sizes)

    def _load(self, progress: Progress) -> Any:
        self._make_way()
        task = progress.start("Loading the video model", 1)
        try:
            pipeline = self._read()
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"Model folder '{self._folder.path}' could not be loaded ({reason}). If its files "
                "do not belong together, download it again."
            ) from error
        self._loaded.add(self)
        self._set_up(pipeline)
        task.update(1)
        return pipeline

    def _make_way(self) -> None:
        """Drop the pipelines of other backbones where this one would not fit beside them."""
        needed = sum(self._megabytes().values()) * 1e6
        for other in list(self._loaded):
            if psutil.virtual_memory().available < needed:
                logger.info("Dropping %s from memory to make way.", other._folder.path.name)
                other.release()

    def read_component(self, name: str, dtype: torch.dtype) -> Any:
        """One component alone, on the CPU, apart from the pipeline.

        Raises:
            InputError: If it cannot be loaded.
        """
        diffusers = importlib.import_module("diffusers")
        part = getattr(diffusers, self._folder.components[name])
        try:
            return part.from_pretrained(
                str(self._folder.path),
                subfolder=name,
                use_safetensors=True,
                variant="fp16" if self._folder.half_precision_only else None,
                local_files_only=True,
                low_cpu_mem_usage=True,
                **{_dtype_key(diffusers): dtype},
            )
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"'{name}' of model folder '{self._folder.path}' could not be loaded ({reason}). "
                "If its files do not belong together, download it again."
            ) from error

    def read_scheduler(self) -> Any:
        """The pipeline's scheduler, as its makers set it."""
        name = self._folder.components["scheduler"]
        scheduler = getattr(importlib.import_module("diffusers"), name)
        path = str(self._folder.path)
        return scheduler.from_pretrained(path, subfolder="scheduler", local_files_only=True)

    def _read(self) -> Any:
        diffusers = importlib.import_module("diffusers")
        dtype = choose_dtype(self._options.dtype, self._device)
        key = _dtype_key(diffusers)
        common = {"local_files_only": True, "low_cpu_mem_usage": True}
        parts: dict[str, Any] = {}
        if self._options.weights is not None:
            parts[self._kind.denoiser] = getattr(
                diffusers, self._kind.denoiser_class
            ).from_single_file(
                str(self._options.weights),
                config=str(self._folder.path),
                subfolder=self._kind.denoiser,
                **common,
                **{key: dtype},
            )
        dtypes = {"default": dtype, **dict.fromkeys(self._kind.full_precision, torch.float32)}
        pipeline = self._pipeline_class().from_pretrained(
            str(self._folder.path),
            use_safetensors=True,
            variant="fp16" if self._folder.half_precision_only else None,
            **common,
            **{key: dtypes},
            **parts,
        )
        _check_complete(pipeline)
        return pipeline

    def _set_up(self, pipeline: Any) -> None:
        options = self._options
        pipeline.set_progress_bar_config(disable=True)
        if options.vae_tiling and hasattr(pipeline.vae, "use_tiling"):
            pipeline.vae.enable_tiling()
        if not is_apart(self._device):
            return
        if options.offload == "model":
            pipeline.enable_model_cpu_offload(device=self._device)
        elif options.offload == "group":
            pipeline.enable_group_offload(
                onload_device=self._device,
                offload_type="leaf_level",
                use_stream=self._device.type == "cuda",
            )


def is_apart(device: torch.device) -> bool:
    """Whether a device has memory of its own, to which weights must be brought."""
    return device.type != "cpu"


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a name in `DTYPES` on a device."""
    if name != "auto":
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]
    if device.type == "cpu":
        return torch.float32
    # Asked without emulation: older GPUs compute bf16 many times slower.
    slow = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.float16 if slow else torch.bfloat16


def _dtype_key(diffusers: Any) -> str:
    """Renamed in 0.40."""
    return "dtype" if Version(diffusers.__version__) >= Version("0.40") else "torch_dtype"


def _check_complete(pipeline: Any) -> None:
    """Require a weight for every parameter: what a file lacks stays without memory."""
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            for parameter, tensor in part.named_parameters():
                if tensor.is_meta:
                    raise ValueError(f"{name} lacks {parameter}")
