"""How many of torch's own threads run while a rasterizer has the processor."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOCK = threading.Lock()
_inside = 0
"""Blocks that run now, on any Python thread."""
_before = 1
"""What the outermost of them found."""


@contextmanager
def one_torch_thread(device: torch.device | str) -> Iterator[None]:
    """Leave the cores to the rasterizer: torch's idle threads spin, and slow it up to tenfold.

    Does nothing unless the device is the CPU. The number is the process's, not the block's: where
    blocks overlap, all of them bring back what the first one found, or the process would be left
    with one thread.
    """
    global _inside, _before
    if torch.device(device).type != "cpu":
        yield
        return
    with _LOCK:
        if _inside == 0:
            _before = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            torch.set_num_threads(_before)
