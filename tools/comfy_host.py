"""A real ComfyUI without a browser: start it with this pack alone, queue prompts, stop it.

Nothing of the user's is touched: custom nodes, user folder, database, output and temp lie in a
folder of their own, which goes when the host stops; models are the user's, if no other folder is
given. Standard library only, but for the figure of memory. Knows the host's HTTP interface, not the
format of workflow files.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from comfy_events import Event, EventStream

PACK = Path(__file__).resolve().parents[1]
"""The checkout that is run: the one this file lies in."""
START_SECONDS = 180
STOP_SECONDS = 10

Prompt = dict[str, dict[str, Any]]
"""A graph in the host's API format: per node id its `class_type` and `inputs`."""


class HostError(RuntimeError):
    """The host is not there, does not start, or refuses what it is given."""


def find_comfyui(given: str | None = None) -> Path:
    """The folder of the ComfyUI to run.

    Args:
        given: Where the user says it is. Without: `$COMFYUI_PATH`, else the ComfyUI in whose
            `custom_nodes` this pack lies, else `~/comfy/ComfyUI`.

    Raises:
        HostError: If there is none; lists where it was looked for.
    """
    named = given or os.environ.get("COMFYUI_PATH")
    if named:
        places = [Path(named).expanduser()]
    else:
        installed = [PACK.parents[1]] if PACK.parent.name == "custom_nodes" else []
        places = [*installed, Path.home() / "comfy" / "ComfyUI"]
    for place in places:
        if (place / "main.py").is_file() and (place / "comfy_execution").is_dir():
            return place.resolve()
    looked = " or ".join(str(place) for place in places)
    raise HostError(f"no ComfyUI in {looked}; give its folder by --comfyui or COMFYUI_PATH")


def find_python(comfyui: Path, given: str | None = None) -> Path:
    """The Python that runs this ComfyUI.

    Args:
        comfyui: The host's folder.
        given: Where the user says it is. Without: `$COMFYUI_PYTHON`, else the virtual environment
            in the host's folder, else the portable package's Python beside it, else this one.
    """
    named = given or os.environ.get("COMFYUI_PYTHON")
    if named:
        return Path(named).expanduser().absolute()
    in_folder = [
        comfyui / venv / place
        for venv in (".venv", "venv")
        for place in ("bin/python", "Scripts/python.exe")
    ]
    for python in (*in_folder, comfyui.parent / "python_embeded" / "python.exe"):
        if python.is_file():
            # Not resolved: the link is what makes it the environment's.
            return python.absolute()
    return Path(sys.executable)


@dataclass(frozen=True)
class Outcome:
    """How a prompt ended."""

    status: str
    """`success`, `error` or `interrupted`."""
    error: str
    """What the failing node shows, with its id and type; empty without an error."""
    outputs: dict[str, dict[str, Any]]
    """Per node id what it shows: saved files, text ..."""
    cached: frozenset[str]
    """Ids of the nodes that did not run because nothing had changed."""


class Job:
    """One queued prompt."""

    def __init__(self, host: Host, id: str, stream: EventStream) -> None:
        """Made by `Host.queue`."""
        self.id = id
        self._host = host
        self._stream = stream

    def events(self, timeout: float) -> Iterator[Event]:
        """What the host tells until the prompt has ended, however it ends.

        Raises:
            HostError: If that takes longer than this many seconds, or the host dies.
        """
        end = time.monotonic() + timeout
        over = False
        while time.monotonic() < end:
            # The row in the history appears a moment after the last message.
            event = self._stream.next(timeout=0.05 if over else 1.0)
            if event is not None and event.data.get("prompt_id") in (None, self.id):
                yield event
                over = over or event.kind in _LAST_EVENTS
            elif self._host.history(self.id) is not None:
                self._stream.close()
                return
            self._host.check_alive()
        raise HostError(f"the prompt has not ended in {timeout:.0f} s")

    def wait(self, timeout: float) -> Outcome:
        """Let the prompt run to its end."""
        for _ in self.events(timeout):
            pass
        return self.outcome()

    def outcome(self) -> Outcome:
        """How the ended prompt ended."""
        row = self._host.history(self.id)
        if row is None:
            raise HostError(f"prompt {self.id} has not ended")
        messages: dict[str, dict[str, Any]] = dict(row["status"]["messages"])
        status, error = row["status"]["status_str"], ""
        if "execution_interrupted" in messages:
            status = "interrupted"
        elif (failure := messages.get("execution_error")) is not None:
            node = f"node {failure['node_id']} ({failure['node_type']})"
            error = f"{node}: {failure['exception_message'].strip()}"
        cached = messages.get("execution_cached", {}).get("nodes", [])
        return Outcome(status, error, row["outputs"], frozenset(cached))


_LAST_EVENTS = ("execution_success", "execution_error", "execution_interrupted")


class Host:
    """A ComfyUI process with this pack and few others, if any, as a context manager."""

    def __init__(
        self,
        comfyui: Path,
        python: Path,
        *,
        inputs: Path | None = None,
        models: Path | None = None,
        packs: Sequence[Path] = (),
        cpu: bool | None = None,
    ) -> None:
        """Say what to start; nothing runs yet.

        Args:
            comfyui: From `find_comfyui`.
            python: From `find_python`.
            inputs: The folder in which input files are looked for; without, the user's own.
            models: The folder of the models' folders; without, the user's own.
            packs: Folders of further packs.
            cpu: Whether to work on the CPU; None asks torch, which takes seconds.
        """
        self.comfyui = comfyui
        self.python = python
        self._inputs = inputs or comfyui / "input"
        self._models = models or comfyui / "models"
        self._packs = (PACK, *packs)
        self._cpu = cpu
        self.folder = Path()
        """Where everything that the host writes lies while it runs."""
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Host:
        """Start the host."""
        self.folder = Path(tempfile.mkdtemp(prefix="reconx-host-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the host."""
        self.stop()

    def stop(self) -> None:
        """End the process and delete its folder; files that are wanted are copied before."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self._port}/"

    def queue(self, prompt: Prompt) -> Job:
        """Queue a graph in API format.

        Raises:
            HostError: If the host finds the graph, or a part of it, invalid; says why per node.
        """
        client = uuid.uuid4().hex
        stream = EventStream(self._port, client)
        status, answer = self._ask("POST", "/prompt", {"prompt": prompt, "client_id": client})
        if status == 200 and not answer["node_errors"]:
            return Job(self, answer["prompt_id"], stream)
        stream.close()
        if status == 200:  # The valid part of the graph is queued, and not what was asked for.
            self._ask("POST", "/queue", {"delete": [answer["prompt_id"]]})
            self.interrupt(answer["prompt_id"])
        raise HostError(_refusal(answer))

    def run(self, prompt: Prompt, timeout: float = 300) -> Outcome:
        """Queue a graph and wait for its end."""
        return self.queue(prompt).wait(timeout)

    def interrupt(self, job_id: str) -> None:
        """Cancel a prompt if it is the one that runs."""
        self._ask("POST", "/interrupt", {"prompt_id": job_id})

    def free(self) -> None:
        """Have all models unloaded and everything cached forgotten, before the next prompt runs."""
        self._ask("POST", "/free", {"unload_models": True, "free_memory": True})

    def object_info(self) -> dict[str, dict[str, Any]]:
        """Every node the host knows: inputs, outputs, names."""
        return self._ask("GET", "/object_info")[1]

    def history(self, job_id: str) -> dict[str, Any] | None:
        """What the host keeps of an ended prompt; None while it has not ended."""
        return self._ask("GET", f"/history/{job_id}")[1].get(job_id)

    def memory_megabytes(self) -> float:
        """Resident memory of the process."""
        import psutil  # All else runs with any Python.

        assert self._process is not None
        return psutil.Process(self._process.pid).memory_info().rss / 1e6

    def files(self, shown: dict[str, Any]) -> list[Path]:
        """The files that one node shows; they live as long as the host.

        Args:
            shown: What the node shows: one value of `Outcome.outputs`.
        """
        found = []
        for value in shown.values():
            for item in value if isinstance(value, list) else []:
                if isinstance(item, dict) and "filename" in item:
                    place = self.folder / item.get("type", "output") / item.get("subfolder", "")
                    found.append(place / item["filename"])
        # 3D nodes name their file, relative to one of the folders, before what the viewer needs.
        if "result" in shown and isinstance(name := shown["result"][0], str):
            places = (self.folder / folder / name for folder in ("output", "temp"))
            found += [place for place in places if place.is_file()]
        return found

    def check_alive(self) -> None:
        """Raise HostError, with the end of the host's log, if its process has ended."""
        if self._process is None or self._process.poll() is not None:
            raise HostError(f"ComfyUI has ended. The end of its log:\n{self._log_tail()}")

    def _start(self) -> None:
        for name in ("custom_nodes", "output", "temp", "user"):
            (self.folder / name).mkdir()
        # The base folder's custom_nodes stays empty. The packs' parent folders are further places
        # for custom nodes, of which only the packs are let in: so ours is this checkout, loaded
        # once.
        places = "\n".join(str(pack.parent) for pack in self._packs)
        pack = self.folder / "pack.yaml"
        pack.write_text(json.dumps({"reconx": {"custom_nodes": places}}))
        self._port = _free_port()
        command: list[str | Path] = [
            *(self.python, "main.py", "--listen", "127.0.0.1", "--port", str(self._port)),
            *("--base-directory", self.folder, "--models-directory", self._models),
            *("--input-directory", self._inputs, "--extra-model-paths-config", pack),
            *("--database-url", f"sqlite:///{(self.folder / 'host.sqlite').as_posix()}"),
            *("--disable-all-custom-nodes", "--whitelist-custom-nodes"),
            *(pack.name for pack in self._packs),
            *("--disable-api-nodes", "--disable-auto-launch"),
        ]
        if self._cpu if self._cpu is not None else not self._has_accelerator():
            command.append("--cpu")
        with (self.folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.comfyui, env=_plain_environment(), stdout=log, stderr=log
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self.check_alive()
            try:
                if self._ask("GET", "/system_stats")[0] == 200:
                    break
            except OSError:  # It does not listen yet.
                time.sleep(0.2)
        else:
            raise HostError(f"ComfyUI is not up after {START_SECONDS} s:\n{self._log_tail()}")
        if "(IMPORT FAILED)" in (log := self._log_tail(lines=200)):
            raise HostError(f"ComfyUI could not load the pack:\n{log}")

    def _has_accelerator(self) -> bool:
        question = "import torch; print(torch.accelerator.is_available())"
        answer = subprocess.run(
            [self.python, "-c", question], capture_output=True, text=True, env=_plain_environment()
        )
        return answer.stdout.strip() == "True"

    def _log_tail(self, lines: int = 40) -> str:
        log = self.folder / "log.txt"
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(content) if content.startswith((b"{", b"[")) else {}


def _refusal(answer: dict[str, Any]) -> str:
    """Why the host does not take a graph, one line per reason."""
    error = answer.get("error") or {}
    lines = [f"ComfyUI refuses the graph: {error.get('message', 'a part of it is invalid')}"]
    for node, found in answer.get("node_errors", {}).items():
        for reason in found["errors"]:
            details = f"{reason['message']}: {reason['details']}"
            lines.append(f"  node {node} ({found['class_type']}): {details}")
    return "\n".join(lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _plain_environment() -> dict[str, str]:
    """This process's environment without what would point the host's Python at our packages."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in ours}


def main() -> None:
    """Say which host the tests marked `comfyui` will run in."""
    try:
        comfyui = find_comfyui()
    except HostError as missing:
        print(f"Tests in a real ComfyUI are skipped: {missing}.")
    else:
        version = (comfyui / "comfyui_version.py").read_text(encoding="utf-8").split('"')[-2]
        python = find_python(comfyui)
        print(f"Tests in a real ComfyUI run in {comfyui}, version {version}, with {python}.")


if __name__ == "__main__":
    main()
