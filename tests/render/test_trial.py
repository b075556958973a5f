import threading

import pytest

from reconx.errors import InputError
from reconx.progress import Preview
from reconx.render import trial
from reconx.render.trial import prepare_rasterizer


class Watcher:
    def __init__(self, stop_at: int) -> None:
        self.stop_at = stop_at
        self.done: list[int] = []

    def start(self, stage: str, total: int) -> "Watcher":
        assert total == 2
        return self

    def update(self, done: int, preview: Preview | None = None) -> None:
        self.done.append(done)
        if done == self.stop_at:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _nothing_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_seconds", {})


def test_a_rasterizer_is_tried_out_once():
    watcher = Watcher(stop_at=-1)
    seconds = prepare_rasterizer("numba", "cpu", watcher)
    assert seconds > 0
    assert watcher.done[-1] == 2
    watcher.done.clear()
    assert prepare_rasterizer("numba", "cpu", watcher) == seconds
    assert not watcher.done


def test_a_trial_that_is_stopped_is_made_again():
    with pytest.raises(KeyboardInterrupt):
        prepare_rasterizer("numba", "cpu", Watcher(stop_at=1))
    for thread in threading.enumerate():
        if thread.name == "reconx-work":
            thread.join()
    watcher = Watcher(stop_at=-1)
    assert prepare_rasterizer("numba", "cpu", watcher) > 0
    assert watcher.done[-1] == 2


def test_an_unknown_rasterizer_is_refused():
    with pytest.raises(InputError, match="Rasterizer 'opengl' is unknown"):
        prepare_rasterizer("opengl")
