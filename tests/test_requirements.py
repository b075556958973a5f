"""The pack's requirements beside a host: what is missing is named, and nothing there changes."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from comfy_host import HostError, find_comfyui, find_python

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = [ROOT / "requirements.txt", ROOT / "requirements-diffusers.txt"]


@pytest.fixture(scope="module")
def explain() -> Callable[..., None]:
    """`explain_missing`, loaded alone: it must work where nothing else of the pack does."""
    spec = importlib.util.spec_from_file_location("requirements", ROOT / "nodes/requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.explain_missing


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.inner", "PIL"])
def test_missing_requirements_are_named(
    explain: Callable[..., None], tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "with space" / "requirements.txt"
    listed.parent.mkdir()
    listed.write_text("# Ours\nno-such-package>=1\nnumpy>=1\npillow>=1\nabsent>=2\n", "utf-8")
    if module == "PIL":
        monkeypatch.setattr(sys, "path", [])  # where nothing is installed
    with pytest.raises(
        ImportError, match="^ReconX cannot start without no-such-package, "
    ) as error:
        explain(ModuleNotFoundError("no", name=module), listed)
    text = str(error.value)
    assert text.endswith(f'{sys.executable} -m pip install -r "{listed}"')
    assert ("numpy" in text.partition(" Run: ")[0]) == (module == "PIL")


@pytest.mark.parametrize("module", ["comfy_api", "numpy", "numpy.gone", None])
def test_other_import_errors_stay_what_they_are(
    explain: Callable[..., None], module: str | None
) -> None:
    error = ModuleNotFoundError("no", name=module)
    assert explain(error) is None  # whoever called raises the error itself
    assert (error.msg, error.name) == ("no", module)


def changes_of(report: dict, installed: dict[str, str]) -> list[str]:
    """Which installed packages a pip report would replace."""
    wanted = {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
        for item in report["install"]
    }
    return [
        f"{name} {version} -> {wanted[name]}"
        for name, version in installed.items()
        if wanted.get(name, version) != version
    ]


def test_a_change_is_seen() -> None:
    report = {"install": [{"metadata": {"name": "Typing_Extensions", "version": "5.0"}}]}
    assert changes_of(report, {"typing-extensions": "4.1"}) == ["typing-extensions 4.1 -> 5.0"]
    assert changes_of(report, {"typing-extensions": "5.0", "numpy": "2.0"}) == []


@pytest.mark.comfyui
@pytest.mark.parametrize("requirements", REQUIREMENTS, ids=lambda path: path.stem)
def test_installing_changes_nothing_of_the_host(requirements: Path) -> None:
    try:
        host = find_comfyui()
    except HostError as error:
        pytest.skip(str(error))
    python = find_python(host)
    if python == Path(sys.executable):
        pytest.skip(f"{host} has no Python of its own")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--retries", "0"]
    listing = subprocess.run([*pip, "list", "--format", "json"], capture_output=True, text=True)
    if listing.returncode:
        pytest.skip(f"no pip for {python}: {listing.stderr.strip()}")
    installed = {
        item["name"].lower().replace("_", "-"): item["version"]
        for item in json.loads(listing.stdout)
    }
    command = [*pip, "install", "--dry-run", "--quiet", "--report", "-", "-r", str(requirements)]
    plan = subprocess.run(command, capture_output=True, text=True)
    if "NewConnectionError" in plan.stderr or "Max retries exceeded" in plan.stderr:
        pytest.skip("requirements are missing in the host, and there is no network to plan for")
    assert plan.returncode == 0, plan.stderr
    assert changes_of(json.loads(plan.stdout), installed) == []
