"""How a long stage reports: steps done, an optional preview, and the chance to be stopped.

The library calls `Task.update`; a face (terminal, ComfyUI) decides what to show. A face stops the
work by raising from `update`, so
every long loop calls it at least twice a second. Owns no stage names.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import psutil
from torch import Tensor
from tqdm import tqdm

logger = logging.getLogger("reconx")

Preview = Callable[[], Tensor]
"""Makes an image (H W 3) in [0, 1] when called; never called unless a face shows it."""


@runtime_checkable
class Task(Protocol):
    """One running stage."""

    def update(self, done: int, preview: Preview | None = None) -> None:
        """Tell how many of the stage's steps are done; may raise to cancel the work."""
        ...


@runtime_checkable
class Progress(Protocol):
    """A face that long stages report to."""

    def start(self, stage: str, total: int) -> Task:
        """Begin a stage of `total` steps."""
        ...


class SilentProgress:
    """Shows nothing; the default of every library call."""

    def start(self, stage: str, total: int) -> "SilentProgress":
        """Begin a stage nobody watches."""
        return self

    def update(self, done: int, preview: Preview | None = None) -> None:
        """Do nothing."""


class TerminalProgress:
    """A tqdm bar with the time left for every stage that lasts over two seconds."""

    DELAY_SECONDS = 2.0

    def start(self, stage: str, total: int) -> "_TerminalTask":
        """Begin a stage; its bar appears once the stage has lasted `DELAY_SECONDS`."""
        return _TerminalTask(tqdm(total=total, desc=stage, delay=self.DELAY_SECONDS, leave=False))


class _TerminalTask:
    def __init__(self, bar: tqdm) -> None:
        self._bar = bar

    def update(self, done: int, preview: Preview | None = None) -> None:
        self._bar.update(done - self._bar.n)
        if self._bar.total is not None and done >= self._bar.total:
            self._bar.close()


@dataclass(slots=True, kw_only=True)
class StageUsage:
    """What one stage cost; filled in when the stage ends."""

    seconds: float = 0.0
    """Wall time."""
    peak_memory_mb: float = 0.0
    """Highest resident memory of the process while the stage ran, sampled; 1e6 bytes."""


@contextmanager
def measure_usage(interval_seconds: float = 0.02) -> Iterator[StageUsage]:
    """Measure wall time and peak resident memory of a block.

    Sampled, since portable high-water marks never go down and so cannot tell stages apart.
    """
    usage = StageUsage()
    process = psutil.Process()
    finished = threading.Event()

    def sample() -> None:
        usage.peak_memory_mb = max(usage.peak_memory_mb, process.memory_info().rss / 1e6)

    def watch() -> None:
        while not finished.wait(interval_seconds):
            sample()

    sample()
    watcher = threading.Thread(target=watch, name="reconx-memory", daemon=True)
    began = time.perf_counter()
    watcher.start()
    try:
        yield usage
    finally:
        finished.set()
        watcher.join()
        sample()
        usage.seconds = time.perf_counter() - began
