"""Which photos are matched with which."""

import pytest
import torch
from torch import Tensor

from reconx.errors import InputError
from reconx.geometry.estimators.pairs import PAIRS_PER_PHOTO, PairOptions, choose_pairs


def reached(pairs: list[tuple[int, int]]) -> set[int]:
    """Photos that hang together with photo 0."""
    found = {0}
    for _ in pairs:
        found |= {j for i, j in pairs if i in found}
    return found


def likeness_on_a_circle(count: int) -> Tensor:
    """Photos taken around a place: alike where they stand near each other."""
    angles = torch.arange(count) * 2 * torch.pi / count
    return torch.cos(angles[:, None] - angles)


def test_few_photos_are_all_matched_in_both_directions() -> None:
    pairs = choose_pairs(3)
    assert pairs == [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]
    assert len(choose_pairs(12)) == 12 * 11


@pytest.mark.parametrize("count", [13, 40, 64])
def test_many_photos_are_matched_with_their_likes(count: int) -> None:
    pairs = choose_pairs(count, likeness_on_a_circle(count))
    assert len(set(pairs)) == len(pairs) == count * PAIRS_PER_PHOTO
    assert {(j, i) for i, j in pairs} == set(pairs)
    assert reached(pairs) == set(range(count))
    steps = [min((i - j) % count, (j - i) % count) for i, j in pairs]
    assert max(steps) <= 4
    assert steps.count(1) == 2 * count  # every neighbour, the last and the first too


def test_groups_that_share_nothing_are_joined() -> None:
    matches = torch.zeros(20, 20, dtype=torch.long)
    matches[:10, :10] = matches[10:, 10:] = 50
    matches[4, 15] = matches[15, 4] = 2
    pairs = choose_pairs(20, matches)
    assert reached(pairs) == set(range(20))
    assert [(i, j) for i, j in pairs if (i < 10) != (j < 10)] == [(4, 15), (15, 4)]


def test_given_graphs() -> None:
    window = choose_pairs(5, options=PairOptions(graph="window", window=2))
    assert window[::2] == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4)]
    hub = choose_pairs(4, options=PairOptions(graph="one-to-all", hub=2))
    assert hub == [(0, 2), (2, 0), (1, 2), (2, 1), (2, 3), (3, 2)]
    assert len(choose_pairs(20, options=PairOptions(graph="complete"))) == 20 * 19
    few = choose_pairs(3, likeness_on_a_circle(3), PairOptions(graph="likely"))
    assert len(few) == 6


@pytest.mark.parametrize(
    ("count", "options", "text"),
    [
        (1, PairOptions(), "number of photos is 1; expected at least 2"),
        (13, PairOptions(), "Pairs of 13 photos .* no likeness was given"),
        (3, PairOptions(graph="ring"), "'ring' is unknown"),
        (3, PairOptions(graph="window", window=0), "window is 0"),
        (3, PairOptions(graph="one-to-all", hub=3), "hub is 3; expected between 0 and 2"),
    ],
)
def test_what_cannot_be_chosen(count: int, options: PairOptions, text: str) -> None:
    with pytest.raises(InputError, match=text):
        choose_pairs(count, options=options)
