"""How CPU kernels are compiled. Importing this loads numba, so only files of kernels do."""

import inspect
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np

f4 = np.float32

# numba would take OpenMP, whose idle threads spin: beside torch's own pool, or another process,
# each kernel then costs several times its work. NUMBA_THREADING_LAYER decides where it is set.
if numba.config.THREADING_LAYER == "default":  # pyright: ignore[reportAttributeAccessIssue]
    numba.config.THREADING_LAYER = "workqueue"  # pyright: ignore[reportAttributeAccessIssue]

# NaN and infinity keep their meaning (no nnan, no ninf); everything else may be reassociated by the
# compiler, which happens once, so the same machine always adds in the same order.
OPTIONS = {
    "fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"},
    "error_model": "numpy",
    "cache": True,
    "nogil": True,
}


def serial(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for one thread."""
    return numba.njit(**OPTIONS)(_named(_bare(function)))


_LOCK = threading.Lock()
"""numba's own thread pool ends the process when two threads start parallel kernels at once."""


@dataclass(frozen=True, slots=True)
class ParallelKernel:
    """A kernel that one thread at a time may start."""

    compiled: Any
    """numba's dispatcher."""

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        with _LOCK:
            return self.compiled(*arguments)


def parallel(function: Callable[..., Any]) -> ParallelKernel:
    """Compile; `prange` loops share numba's threads. Only for Python to call."""
    return ParallelKernel(numba.njit(parallel=True, **OPTIONS)(_named(_bare(function))))


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile as a part of whichever kernel calls it, as if it were written there."""
    return numba.njit(inline="always")(_bare(function))


def merged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile once, and let LLVM put it into whichever kernel calls it.

    Kernels compile in two thirds of the time that `inlined` parts take. Those of dense stereo,
    whose loops must vectorise, were a tenth slower with it.
    """
    options: dict[str, Any] = {**OPTIONS, "cache": False, "forceinline": True}
    return numba.njit(**options)(_bare(function))


def _bare(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: the tests' type checks wrap every function, which numba cannot read.

    Cached code names the module of its functions and imports it when it is loaded. Ours has another
    name inside ComfyUI, a folder's path; under one that all programs can import, what one has
    compiled serves the others. Kernels keep their globals as constants, so no module is read.
    """
    function = inspect.unwrap(function)
    function.__module__ = numba.__name__
    return function


@cache
def stamp_of(compiler: str, folder: Path) -> int:
    """A number that changes with the compiler's version and with any source file of a folder."""
    sources = [Path(__file__), *sorted(folder.glob("*.py"))]
    content = b"".join(path.read_bytes() for path in sources)
    return zlib.crc32(content, zlib.crc32(compiler.encode()))


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under a name that gives it cache files of its own.

    numba looks at the file of a kernel alone, not at those whose functions and constants it
    compiles into it; they lie in the same folder. And programs with different versions of numba
    would overwrite each other's files.
    """
    stamp = stamp_of(numba.__version__, Path(function.__code__.co_filename).parent)
    function.__qualname__ += f"-{stamp:08x}"
    return function
