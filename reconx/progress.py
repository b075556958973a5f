"""How a long stage reports: steps done, an optional preview, and the chance to be stopped.

The library calls `Task.update`; a face (terminal, ComfyUI) decides what to show. A face stops the
work by raising from `update`, so every long loop calls it at least twice a second; what cannot runs
under `run_interruptibly`. Owns no stage names.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import psutil
from torch import Tensor
from tqdm import tqdm

logger = logging.getLogger("reconx")

Preview = Callable[[], Tensor]
"""Makes an image (H W 3) in [0, 1] when called; never called unless a face shows it."""

HEARTBEAT_SECONDS = 0.25
"""`run_interruptibly` calls the face at least this often."""

Result = TypeVar("Result")


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


def run_interruptibly(work: Callable[[Progress], Result], progress: Progress) -> Result:
    """Run work of which single calls last too long for a face that wants to stop it.

    The work runs on a thread of its own, where a native call may take its time. The caller's thread
    passes on what the work reports and repeats the last report meanwhile, so that the face can
    raise within `HEARTBEAT_SECONDS`. Its error reaches the caller at once; the abandoned work goes
    on unheard and ends at its next report.

    Args:
        work: Called with the progress to report to. It may end at any report, and takes over no
            setting of the caller's thread, such as torch's gradient mode.
        progress: The face; called on the caller's thread alone.

    Returns:
        What the work returns; what it raises is raised here.
    """
    relay = _Relay(progress)
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work(relay))
        except BaseException as error:  # all of it belongs to the caller
            outcome.set_exception(error)
        relay.reports.put(lambda: None)  # wakes the caller

    # No daemon: a program that ends while one runs native code may crash.
    threading.Thread(target=run, name="reconx-work").start()
    try:
        while not (outcome.done() and relay.reports.empty()):
            relay.pass_on_next()
    finally:
        relay.abandoned.set()
    return outcome.result()


class _Abandoned(BaseException):
    """Ends work that nobody waits for; no handler of ordinary errors holds it up."""


class _Relay:
    """The progress of work on another thread: `pass_on_next` brings its reports to the face."""

    def __init__(self, face: Progress) -> None:
        self.face = face
        self.abandoned = threading.Event()
        self.reports: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.latest: Callable[[], None] = lambda: None

    def start(self, stage: str, total: int) -> "_RelayedTask":
        return _RelayedTask(self, stage, total)

    def report(self, call: Callable[[], None]) -> None:
        """On the work's thread: have the caller's thread make this call."""
        if self.abandoned.is_set():
            raise _Abandoned
        self.reports.put(call)

    def pass_on_next(self) -> None:
        """On the caller's thread: make the next call, or the latest again where none comes."""
        try:
            call = self.reports.get(timeout=HEARTBEAT_SECONDS)
        except queue.Empty:
            call = self.latest
        call()


class _RelayedTask:
    def __init__(self, relay: _Relay, stage: str, total: int) -> None:
        self._relay = relay
        relay.report(partial(self._begin, stage, total))

    def update(self, done: int, preview: Preview | None = None) -> None:
        self._relay.report(partial(self._pass_on, done, preview))

    def _begin(self, stage: str, total: int) -> None:
        self._task = self._relay.face.start(stage, total)
        self._relay.latest = partial(self._task.update, 0)

    def _pass_on(self, done: int, preview: Preview | None) -> None:
        self._relay.latest = partial(self._task.update, done)
        self._task.update(done, preview)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """What long work will cost, about; told before it begins."""

    seconds: float
    """Wall time, if nothing else wants the machine."""
    megabytes: float
    """Memory beyond what its input takes, 1e6 bytes; on a GPU part of it lies there."""

    def __str__(self) -> str:
        """For people: "about 95 s and 0.3 GB", "about 4 min and 12 GB"."""
        long = self.seconds >= 120
        time_needed = f"{self.seconds / 60:.0f} min" if long else f"{self.seconds:.0f} s"
        return f"about {time_needed} and {self.megabytes / 1e3:.2g} GB"


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
