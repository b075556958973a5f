import shutil
import subprocess
import sys
from pathlib import Path

from reconx.render.rasterizers import numba_compile

IMPORT_AND_CALL = """
import importlib.util, sys
folder, name = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    name, folder + "/__init__.py", submodule_search_locations=[folder]
)
sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
kernel = importlib.import_module(name + ".kernel")
print(kernel.four_times(0.5), sum(kernel.four_times.stats.cache_hits.values()))
"""
KERNEL = """
from .numba_compile import inlined, serial

@inlined
def twice(x):
    return 2 * x

@serial
def four_times(x):
    return twice(twice(x))
"""


def test_one_folder_under_two_names_keeps_two_caches(tmp_path: Path):
    """As when the library is installed and its folder is a node pack of ComfyUI too."""
    (tmp_path / "__init__.py").touch()
    (tmp_path / "kernel.py").write_text(KERNEL, encoding="utf-8")
    shutil.copy(numba_compile.__file__, tmp_path)
    answers = []
    for name in ("reconx", "/hosts/custom_nodes/pack", "/hosts/custom_nodes/pack"):
        command = [sys.executable, "-c", IMPORT_AND_CALL, str(tmp_path), name]
        answers.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [answer.split() for answer in answers] == [["2.0", "0"], ["2.0", "0"], ["2.0", "1"]]
