"""Which part of many scenes this process takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...checks import check_range
from ...errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of several processes that share the scenes without talking to each other."""

    number: int = 1
    """From 1."""
    count: int = 1
    """Of processes."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range("Number of shards", self.count, 1)
        check_range("Shard", self.number, 1, self.count)

    def part(self, scenes: Sequence[str]) -> Sequence[str]:
        """A run of neighbours, as long as any other or one longer, so that few files are opened."""
        first, last = (
            (number * len(scenes)) // self.count for number in (self.number - 1, self.number)
        )
        return scenes[first:last]


def find_shard(text: str | None, environment: Mapping[str, str]) -> Shard:
    """The shard that a user names, else the one that a launcher gives.

    Args:
        text: For instance "2/8".
        environment: RANK (from 0) and WORLD_SIZE are set by `accelerate launch` and `torchrun`.

    Raises:
        InputError: If it is no such text, or out of range.
    """
    if text is None:
        rank, size = environment.get("RANK", "0"), environment.get("WORLD_SIZE", "1")
        return Shard(number=_integer("RANK", rank) + 1, count=_integer("WORLD_SIZE", size))
    number, slash, count = text.partition("/")
    if not slash:
        raise InputError(f"Shard '{text}' is no part; expected for instance 1/4, up to 4/4.")
    return Shard(number=_integer("Shard", number), count=_integer("Number of shards", count))


def _integer(name: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise InputError(f"{name} is '{text}'; expected a whole number, as in --shard 1/4.")
    return int(text)
