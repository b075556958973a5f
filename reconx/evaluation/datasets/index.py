"""Which frames of which scene go in, and which are scored: pixelSplat's index files."""

import json
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSplit:
    """The frames of one scene, by number from 0."""

    context: tuple[int, ...]
    """At least two that go in."""
    targets: tuple[int, ...]
    """At least one that is scored; may be among the context, as in pixelSplat's index."""

    @property
    def frames(self) -> tuple[int, ...]:
        """Every frame once, in order."""
        return tuple(sorted({*self.context, *self.targets}))


def read_index(path: Path) -> dict[str, FrameSplit]:
    """Read `{"scene": {"context": [..], "target": [..]} or null, ...}`; null leaves a scene out.

    Raises:
        InputError: If the file is missing, no such index, or leaves no scene.
    """
    if not path.is_file():
        raise InputError(f"Index '{path}' does not exist. Check the path.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"Index '{path}' is not JSON ({error}). It is cut, or another file."
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"Index '{path}' holds no JSON object; expected scenes by name.")
    splits = {
        scene: FrameSplit(
            context=_read_frames(path, scene, entry, "context", 2),
            targets=_read_frames(path, scene, entry, "target", 1),
        )
        for scene, entry in document.items()
        if entry is not None
    }
    if not splits:
        raise InputError(f"Index '{path}' names no scene with frames; expected at least one.")
    return splits


def _read_frames(path: Path, scene: str, entry: object, key: str, least: int) -> tuple[int, ...]:
    frames = entry.get(key) if isinstance(entry, dict) else None
    if (
        not isinstance(frames, list)
        or not all(type(frame) is int and frame >= 0 for frame in frames)
        or len(set(frames)) != len(frames)
        or len(frames) < least
    ):
        raise InputError(
            f"Index '{path}', scene '{scene}': '{key}' is {frames}; expected a list of at least "
            f"{least} frame numbers, each once."
        )
    return tuple(frames)
