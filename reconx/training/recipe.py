"""Recipes as JSON files, and single options changed on the command line."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError
from .options import TrainOptions

Record = TypeVar("Record")


def read_recipe(path: Path, changes: Sequence[str] = ()) -> TrainOptions:
    """Read a recipe.

    Args:
        path: JSON, its keys the names of options.
        changes: Such as "learn.steps=100"; values in JSON, or texts without quotes.

    Raises:
        InputError: If the file is no recipe, or an option is unknown, missing or out of range.
    """
    if not path.is_file():
        raise InputError(f"Recipe '{path}' does not exist. Check the path.")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Recipe '{path}' is not JSON ({error}). Correct it there.") from error
    if not isinstance(told, dict):
        raise InputError(f"Recipe '{path}' is no JSON object; expected options by name.")
    for change in changes:
        _change(told, change)
    return make_record(TrainOptions, told, "")


def recipe_json(options: TrainOptions) -> dict[str, Any]:
    """All options in JSON's types; `make_record` reads them back."""
    return json.loads(json.dumps(dataclasses.asdict(options), default=str))


def make_record(kind: type[Record], told: Mapping[str, Any], place: str) -> Record:
    """Options of nested dataclasses, checked by their annotations.

    Args:
        kind: A dataclass.
        told: Its fields by name.
        place: Of the record in the recipe, for error texts.

    Raises:
        InputError: If a name is unknown or missing, or a value has another type.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(told.keys() - fields.keys())
    if unknown:
        raise InputError(
            f"Option '{place}{unknown[0]}' is unknown. Choose one of: {', '.join(fields)}."
        )
    for name, field in fields.items():
        optional = field.default, field.default_factory
        if name not in told and optional == (dataclasses.MISSING, dataclasses.MISSING):
            raise InputError(f"Option '{place}{name}' is missing; expected it in the recipe.")
    return kind(**{name: _value(hints[name], told[name], place + name) for name in told})


def _value(kind: Any, told: Any, place: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(part for part in arguments if part is not type(None))
        return None if told is None else _value(inner, told, place)
    if origin is tuple and isinstance(told, list):
        return tuple(
            _value(arguments[0], part, f"{place}.{number}") for number, part in enumerate(told)
        )
    if origin is typing.Literal and told in arguments:
        return told
    if dataclasses.is_dataclass(kind) and isinstance(told, dict):
        return make_record(kind, told, f"{place}.")  # type: ignore[arg-type]
    if kind is Path and isinstance(told, str):
        return Path(told)
    if kind is float and type(told) in (int, float):
        return float(told)
    if kind in (int, str, bool) and type(told) is kind:
        return told
    expected = arguments if origin is typing.Literal else getattr(kind, "__name__", kind)
    raise InputError(f"Option '{place}' is {told!r}; expected {expected}.")


def _change(told: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    if not equals or not name:
        raise InputError(f"Option '{change}' has no value; expected for instance learn.steps=100.")
    *path, last = name.split(".")
    place: Any = told
    for part in path:
        if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, dict):
            place = place.setdefault(part, {})
        else:
            raise InputError(f"Option '{name}' leads nowhere: '{part}' is not in the recipe.")
    if not isinstance(place, dict):
        raise InputError(f"Option '{name}' leads nowhere; expected for instance data.0.clips=10.")
    try:
        place[last] = json.loads(text)
    except json.JSONDecodeError:
        place[last] = text
