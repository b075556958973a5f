"""Files and folders to a list of photo files with unique names, and each photo's mask."""

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".heic", ".heif"),
    *(".tif", ".tiff", ".bmp", ".gif", ".jp2", ".pgm", ".ppm"),
)
"""What counts as a photo in a folder; a file that is named by itself may have any suffix."""


def list_photos(sources: Sequence[str | Path]) -> list[Path]:
    """Files as given; folders give their pictures in natural order, without sub-folders.

    Raises:
        InputError: If a source does not exist or a folder holds no picture.
    """
    paths: list[Path] = []
    for source in map(Path, sources):
        if not source.exists():
            raise InputError(f"'{source}' does not exist. Check the path.")
        paths += _pictures_in(source) if source.is_dir() else [source]
    return paths


def unique_names(paths: Sequence[Path]) -> list[str]:
    """File names; those that repeat are led by as many parent folders as tell them apart.

    Names that differ only in case count as repeated, since some file systems hold them for one.

    Raises:
        InputError: If one file is listed twice.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise InputError(f"Photo '{path}' is given twice. Give each photo once.")
        seen.add(path.resolve())
    parts = [path.absolute().parts[1:] for path in paths]
    names = [path.name for path in paths]
    depths = [1] * len(paths)
    for _ in range(max(map(len, parts))):
        folded = [name.casefold() for name in names]
        repeated = [index for index, name in enumerate(folded) if folded.count(name) > 1]
        if not repeated:
            return names
        for index in repeated:
            depths[index] += 1
            names[index] = "_".join(parts[index][-depths[index] :])
    raise InputError(
        f"Photos {', '.join(names)} have paths that differ only in case. Rename one of them."
    )


def find_masks(masks: str | Path | Sequence[str | Path], names: Sequence[str]) -> list[Path | None]:
    """Each photo's mask: a picture of the photo's stem (IMG_1.png) or full name (IMG_1.jpg.png).

    Args:
        masks: One folder, or files.
        names: The photos' unique names.

    Returns:
        One path per photo; None for a photo without a mask, which is used whole.

    Raises:
        InputError: If a source does not exist or no mask belongs to any photo.
    """
    files = list_photos([masks] if isinstance(masks, str | Path) else masks)
    by_stem = {path.stem: path for path in files}
    found = [by_stem.get(name) or by_stem.get(Path(name).stem) for name in names]
    if not any(found):
        raise InputError(
            f"None of {len(files)} masks belongs to a photo. Expected a mask to have its photo's "
            f"name, like {Path(names[0]).stem}.png for {names[0]}."
        )
    return found


def _pictures_in(folder: Path) -> list[Path]:
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not found:
        raise InputError(
            f"Folder '{folder}' holds no photos. Expected JPEG, PNG, WebP, TIFF or the like, "
            "directly in the folder."
        )
    return sorted(found, key=_natural_key)


def _natural_key(path: Path) -> tuple[list[tuple[bool, int, str]], str]:
    """IMG_2 before IMG_10: runs of digits compare as numbers, and before letters."""
    parts = re.findall(r"[0-9]+|[^0-9]+", path.name.casefold())
    key = [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
    return key, path.name
