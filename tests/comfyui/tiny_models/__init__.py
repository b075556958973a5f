"""A ComfyUI pack for tests: prompts without a text encoder, and what lies in memory."""

import ctypes
import gc
import json
import time

import comfy.model_management
import psutil
import torch
from comfy_api.latest import ComfyExtension, io


class TinyConditioning(io.ComfyNode):
    """Numbers of the shape in which Wan's text encoder gives a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Tiny_Conditioning",
            inputs=[io.Int.Input("seed", default=0, min=0)],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, seed: int) -> io.NodeOutput:
        generator = torch.Generator().manual_seed(seed)
        return io.NodeOutput([[torch.randn(1, 8, 4096, generator=generator), {}]])


class TinyMemory(io.ComfyNode):
    """How many models the host holds loaded, and how many of our models are alive."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Tiny_Memory", inputs=[], outputs=[io.String.Output()], not_idempotent=True
        )

    @classmethod
    def fingerprint_inputs(cls) -> float:
        return time.monotonic()

    @classmethod
    def execute(cls) -> io.NodeOutput:
        gc.collect()
        ours = ("HostBackbone", "StructureAdapter", "StructureEncoder")
        alive = [one for one in gc.get_objects() if type(one).__name__ in ours]
        loaded = comfy.model_management.current_loaded_models
        return io.NodeOutput(f"{len(loaded)} loaded, {len(alive)} of ours")


class TinyKept(io.ComfyNode):
    """What the process keeps: live tensors, and resident memory that is in use."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Tiny_Kept", inputs=[], outputs=[io.String.Output()], not_idempotent=True
        )

    @classmethod
    def fingerprint_inputs(cls) -> float:
        return time.monotonic()

    @classmethod
    def execute(cls) -> io.NodeOutput:
        gc.collect()
        # glibc keeps what was freed, in pieces, for itself; others have no such function.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if psutil.POSIX else None
        if trim is not None:
            trim(0)
        tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
        kept = {"tensors": len(tensors), "megabytes": psutil.Process().memory_info().rss / 1e6}
        return io.NodeOutput(json.dumps(kept))


class TinyModels(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [TinyConditioning, TinyMemory, TinyKept]


async def comfy_entrypoint() -> TinyModels:
    return TinyModels()
