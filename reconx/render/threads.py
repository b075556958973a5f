"""Who has the processor's cores: torch's own threads, a rasterizer's, or one per frame."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")

APART = 4
"""Frames at once on a device beside the CPU: what each of them takes there adds up."""

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
    """Do the same for every frame, several frames at once.

    As many as torch has threads, each on one: the many small steps of a single frame gain nothing
    from more. On another device at most `APART`, since some of the steps are the CPU's even there.

    Args:
        work: Called with the number of the frame; what it raises is raised here, and frames that
            have not begun are left out then.
        count: Of frames.
        device: Where `work` computes, above all.

    Yields:
        Results, in order.
    """
    most = count if torch.device(device).type == "cpu" else APART
    workers = min(torch.get_num_threads(), count, most)
    if workers < 2:
        yield from map(work, range(count))
        return
    with one_torch_thread("cpu"), ThreadPoolExecutor(workers, "reconx-frame") as pool:
        yield from pool.map(work, range(count))
