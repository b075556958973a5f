"""Compiled kernels on disk serve every name under which the package is imported."""

import subprocess
import sys
from pathlib import Path

import numpy as np

import reconx
from reconx.compilation import stamp_of
from reconx.render.rasterizers.numba_binning import sort_by_depth

UNDER_ANOTHER_NAME = """
import importlib, importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("/some/folder", sys.argv[1])
package = importlib.util.module_from_spec(spec)
sys.modules["/some/folder"] = package
sys.modules["reconx"] = None  # as in a host that knows no package of this name
spec.loader.exec_module(package)
binning = importlib.import_module("/some/folder.render.rasterizers.numba_binning")
depths, boxes = np.array([3, 1, 2], np.float32), np.array([[0, 0, 1, 1]] * 3, np.int32)
print(*binning.sort_by_depth(depths, boxes))
"""


def test_a_cache_made_under_one_name_does_not_break_another() -> None:
    depths, boxes = np.array([3, 1, 2], np.float32), np.array([[0, 0, 1, 1]] * 3, np.int32)
    assert sort_by_depth(depths, boxes).tolist() == [1, 2, 0]
    for _ in range(2):  # compiled and cached, then loaded from the cache
        done = subprocess.run(
            [sys.executable, "-c", UNDER_ANOTHER_NAME, str(Path(reconx.__file__))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == ["1", "2", "0"], done.stderr


def test_kernels_are_compiled_anew_when_any_of_their_files_changes(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text("import inlined", encoding="utf-8")
    (tmp_path / "inlined.py").write_text("ONE = 1", encoding="utf-8")
    stamp = stamp_of.__wrapped__  # a process never asks twice
    first = stamp("package", tmp_path)
    assert stamp("package", tmp_path) == first
    assert stamp("other", tmp_path) != first
    (tmp_path / "inlined.py").write_text("ONE = 2", encoding="utf-8")
    assert stamp("package", tmp_path) != first
