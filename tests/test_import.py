"""Importing the package must stay light: what is heavy loads on first use."""

import subprocess
import sys

HEAVY = ("av", "kornia", "numba", "poselib", "pycolmap", "scipy")


def test_import_loads_nothing_heavy() -> None:
    script = f"import reconx, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_package_offers_the_one_call() -> None:
    import reconx

    assert callable(reconx.reconstruct)
    assert reconx.ReconstructOptions.of_quality("draft").fit.steps == 300
