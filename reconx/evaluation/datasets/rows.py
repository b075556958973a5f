"""One line of JSON per evaluated scene, in a folder that many processes share.

Each process appends to a file of its own, so that none waits for another; all are read. A line
that a killed process left unfinished is dropped, and its scene runs again.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...export.atomic import write_text
from .shards import Shard

logger = logging.getLogger("reconx")


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRow:
    """How one scene went."""

    scene: str
    """Its name in the dataset."""
    psnr: float | None
    """dB, mean over the targets; None if there is no reconstruction."""
    ssim: float | None
    """Mean over the targets."""
    targets: Mapping[str, Mapping[str, float]]
    """Scores of each."""
    seconds: float
    """What it took."""
    error: str | None
    """Why there is no reconstruction."""
    lpips: float | None = None
    """Mean over the targets, where a network was given to measure it."""


class RowFolder:
    """The rows of one run, over all its processes and restarts."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], shard: Shard) -> None:
        """Open a new or an earlier run.

        Args:
            folder: Made if it is missing.
            settings: What every row depends on.
            shard: Which of the processes this is.

        Raises:
            InputError: If the folder holds rows that were made with other settings.
        """
        self._folder = folder
        self._file = folder / f"scenes-{shard.number}-of-{shard.count}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        _check_settings(folder / "settings.json", dict(settings))
        _drop_unfinished(self._file)

    def rows(self) -> list[SceneRow]:
        """Every row of every process, in order of the scenes' names.

        Raises:
            InputError: If a file holds something else.
        """
        found = {}
        for path in sorted(self._folder.glob("scenes-*.jsonl")):
            for number, line in enumerate(_finished_lines(path), start=1):
                row = _read_row(f"'{path}', line {number}", line)
                found[row.scene] = row
        return [found[scene] for scene in sorted(found)]

    def append(self, row: SceneRow) -> None:
        """Keep a row, at once."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(row)) + "\n")


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    settings = json.loads(json.dumps(settings))
    if not path.is_file():
        write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not JSON ({error}). Choose another folder.") from error
    names = sorted({*earlier, *settings})
    other = [name for name in names if earlier.get(name) != settings.get(name)]
    if other:
        differences = ", ".join(
            f"{name} {earlier.get(name)} and not {settings.get(name)}" for name in other
        )
        raise InputError(
            f"'{path.parent}' holds scenes that were evaluated with {differences}. Choose another "
            "folder, or the same options."
        )


def _finished_lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def _drop_unfinished(path: Path) -> None:
    if not path.is_file():
        return
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        logger.info("The last line of '%s' is not finished; its scene runs again.", path)
        with path.open("r+b") as file:
            file.truncate(len(whole))


def _read_row(place: str, line: str) -> SceneRow:
    try:
        return SceneRow(**json.loads(line))
    except (json.JSONDecodeError, TypeError) as error:
        raise InputError(
            f"{place} is no evaluated scene ({error}). Remove the line, and its scene runs again."
        ) from error
