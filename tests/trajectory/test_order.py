import itertools

import pytest
import torch

from reconx.trajectory.order import EXACT, order_cameras


def way_length(order: list[int], distance: torch.Tensor, loop: bool) -> float:
    stops = [*order, order[0]] if loop else order
    return sum(float(distance[a, b]) for a, b in itertools.pairwise(stops))


@pytest.mark.parametrize("loop", [False, True])
def test_few_cameras_are_ordered_optimally(loop: bool) -> None:
    places = torch.rand(6, 3, generator=torch.Generator().manual_seed(3))
    distance = torch.cdist(places, places)
    order = order_cameras(distance, loop=loop)
    best = min(
        way_length(list(candidate), distance, loop)
        for candidate in itertools.permutations(range(6))
    )
    assert sorted(order) == list(range(6))
    assert way_length(order, distance, loop) == pytest.approx(best)


@pytest.mark.parametrize("loop", [False, True])
def test_many_cameras_on_a_circle_follow_it(loop: bool) -> None:
    count = 2 * EXACT + 3
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    angle = 2 * torch.pi * shuffled / count
    places = torch.stack([angle.cos(), angle.sin()], dim=-1)
    distance = torch.cdist(places, places)
    order = order_cameras(distance, loop=loop)
    side = float(
        torch.linalg.norm(
            torch.tensor(
                [
                    1 - torch.cos(torch.tensor(2 * torch.pi / count)),
                    torch.sin(torch.tensor(2 * torch.pi / count)),
                ]
            )
        )
    )
    assert sorted(order) == list(range(count))
    assert way_length(order, distance, loop) == pytest.approx(
        side * (count if loop else count - 1), rel=1e-4
    )


def test_the_direction_does_not_depend_on_chance() -> None:
    places = torch.tensor([[2.0], [0.0], [1.0]])
    assert order_cameras(torch.cdist(places, places), loop=False) == [0, 2, 1]
