"""Who has the processor's cores: torch's own threads, a rasterizer's, or one per frame."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")

_LOCK = threading.Lock()
_inside = 0
"""Blocks that run now, on any Python thread."""
_before = 1
"""What the outermost of them found."""


@contextmanager
def one_torch_thread(device: torch.device | str) -> Iterator[None]:
    """Leave the cores to others: torch's idle threads spin, and slow a rasterizer up to tenfold.

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


def map_frames(
    work: Callable[[int], Result], count: int, device: torch.device | str
) -> Iterator[Result]:
    """Do the same for every frame.

    On a CPU as many frames at once as torch has threads, each on one: the many small steps of a
    single frame gain nothing from more. Elsewhere one after the other.

    Args:
        work: Called with the number of the frame; what it raises is raised here, and frames that
            have not begun are left out then.
        count: Of frames.
        device: Where `work` computes.

    Yields:
        Results, in order.
    """
    on_cpu = torch.device(device).type == "cpu"
    workers = min(torch.get_num_threads(), count) if on_cpu else 1
    if workers < 2:
        yield from map(work, range(count))
        return
    with one_torch_thread(device), ThreadPoolExecutor(workers, "reconx-frame") as pool:
        yield from pool.map(work, range(count))
