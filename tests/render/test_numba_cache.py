"""Compiled kernels on disk serve every name under which the package is imported."""

import subprocess
import sys
from pathlib import Path

import reconx
from reconx.compilation import stamp_of
from reconx.render.trial import prepare_rasterizer

UNDER_ANOTHER_NAME = """
import importlib, importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("/some/folder", sys.argv[1])
package = importlib.util.module_from_spec(spec)
sys.modules["/some/folder"] = package
sys.modules["reconx"] = None  # as in a host that knows no package of this name
spec.loader.exec_module(package)
binning = importlib.import_module("/some/folder.render.rasterizers.numba_binning")
blending = importlib.import_module("/some/folder.render.rasterizers.numba_blending")
records, boxes = np.zeros((3, 16), np.float32), np.array([[0, 0, 1, 1]] * 3, np.int32)
records[:, 9] = [3, 1, 2]
order = binning.sort_by_depth(records[:, 9], boxes)
pairs, starts, _ = binning.bin_to_tiles(boxes, order, 1, 1)
*pictures, _, _ = blending.blend(
    records.reshape(-1), boxes, pairs, starts, 2, 1, np.array([0, 0, 1], np.float32)
)
kernels = (binning.sort_by_depth, binning.bin_to_tiles, blending.blend.compiled)
hits = [sum(kernel.stats.cache_hits.values()) for kernel in kernels]
print(order.tolist(), pictures[0].tolist(), hits)
"""


def test_a_cache_made_under_one_name_serves_another() -> None:
    prepare_rasterizer("numba")
    done = subprocess.run(
        [sys.executable, "-c", UNDER_ANOTHER_NAME, str(Path(reconx.__file__))],
        capture_output=True,
        text=True,
        check=False,
    )
    blue = [[[0.0, 0.0, 1.0]] * 2]
    assert done.stdout.strip() == f"{[1, 2, 0]} {blue} {[1, 1, 1]}", done.stderr


def test_kernels_are_compiled_anew_when_any_of_their_files_changes(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text("import inlined", encoding="utf-8")
    (tmp_path / "inlined.py").write_text("ONE = 1", encoding="utf-8")
    stamp = stamp_of.__wrapped__  # a process never asks twice
    first = stamp("0.1", tmp_path)
    assert stamp("0.1", tmp_path) == first
    assert stamp("0.2", tmp_path) != first
    (tmp_path / "inlined.py").write_text("ONE = 2", encoding="utf-8")
    assert stamp("0.1", tmp_path) != first
