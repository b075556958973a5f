"""Frames side by side: in order, at the same time, none begun after an error."""

import threading
from collections.abc import Iterator

import pytest
import torch

from reconx.render.threads import map_frames

BARRIER_SECONDS = 30


@pytest.fixture(autouse=True)
def two_torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2, "the number of threads was not brought back"
    torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_two_frames_run_at_once_on_one_torch_thread_each_and_come_in_order(device: str) -> None:
    both = threading.Barrier(2, timeout=BARRIER_SECONDS)

    def work(frame: int) -> tuple[int, int]:
        both.wait()
        return frame, torch.get_num_threads()

    assert list(map_frames(work, 6, device)) == [(frame, 1) for frame in range(6)]


def test_elsewhere_than_on_a_cpu_few_frames_run_at_once(monkeypatch) -> None:
    monkeypatch.setattr("reconx.render.threads.APART", 1)
    workers = list(map_frames(lambda _: threading.current_thread(), 3, "cuda"))
    assert workers == [threading.current_thread()] * 3


def test_after_an_error_no_further_frame_begins() -> None:
    begun, failed = [], threading.Event()

    def work(frame: int) -> None:
        begun.append(frame)
        if frame == 0:
            raise ValueError("frame 0")
        failed.wait(BARRIER_SECONDS)

    frames = map_frames(work, 100, "cpu")
    threading.Timer(0.5, failed.set).start()
    with pytest.raises(ValueError, match="frame 0"):
        next(frames)
    assert len(begun) <= 3
