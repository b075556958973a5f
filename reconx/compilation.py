"""How CPU kernels are compiled. Importing this loads numba, so only files of kernels do."""

import inspect
import threading
import zlib
from collections.abc import Callable
from functools import cache, wraps
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


def parallel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile; `prange` loops share numba's threads. Only for Python to call."""
    kernel = numba.njit(parallel=True, **OPTIONS)(_named(_bare(function)))

    @wraps(function)
    def run(*arguments: Any) -> Any:
        with _LOCK:
            return kernel(*arguments)

    return run


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile as a part of whichever kernel calls it."""
    return numba.njit(inline="always")(_bare(function))


def _bare(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: the tests' type checks wrap every function, which numba cannot read."""
    return inspect.unwrap(function)


@cache
def stamp_of(package: str, folder: Path) -> int:
    """A number that changes with the package's name and with any source file of a folder."""
    sources = [Path(__file__), *sorted(folder.glob("*.py"))]
    content = b"".join(path.read_bytes() for path in sources)
    return zlib.crc32(content, zlib.crc32(package.encode()))


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under a name that gives it cache files of its own.

    Cached code names the package that it was compiled in, which inside ComfyUI is a folder's path:
    two programs that import this file under different names must not read each other's files. And
    numba looks at the file of a kernel alone, not at those whose functions and constants it
    compiles into it; they lie in the same folder.
    """
    stamp = stamp_of(__name__, Path(function.__code__.co_filename).parent)
    function.__qualname__ += f"-{stamp:08x}"
    return function
