"""Work on another thread: its reports reach the face, and the face can stop it at once."""

import threading
import time

import pytest

from reconx.errors import InputError
from reconx.progress import CostEstimate, SilentProgress, run_interruptibly


class Cancelled(Exception):
    pass


class Face:
    """Writes down what it is told and by whom; raises once it was told often enough."""

    def __init__(self, patience: float = float("inf")):
        self.patience = patience
        self.told = []
        self.threads = set()

    def start(self, stage, total):
        self.told.append((stage, total))
        return self

    def update(self, done, preview=None):
        self.threads.add(threading.current_thread())
        self.told.append(done if preview is None else (done, preview()))
        self.patience -= 1
        if self.patience < 0:
            raise Cancelled


def test_every_report_arrives_in_order_on_the_callers_thread():
    def work(progress):
        first = progress.start("first", 2)
        first.update(1)
        first.update(2, lambda: "picture")
        progress.start("second", 1).update(1)
        return threading.current_thread()

    face = Face()
    worker = run_interruptibly(work, face)
    assert face.told == [("first", 2), 1, (2, "picture"), ("second", 1), 1]
    assert face.threads == {threading.current_thread()}
    assert worker is not threading.current_thread()


def test_errors_of_the_work_are_the_callers():
    def work(progress):
        progress.start("stage", 1)
        raise InputError("The photo is blank.")

    with pytest.raises(InputError, match="The photo is blank"):
        run_interruptibly(work, SilentProgress())


def test_a_call_that_does_not_end_is_left_behind():
    """The face is asked during the call, and the work ends at its first report after it."""
    let_go, ended = threading.Event(), threading.Event()
    reports = []

    def work(progress):
        task = progress.start("stage", 2)
        try:
            let_go.wait(20)  # stands for native code that nobody can stop
            task.update(1)
            reports.append(1)
        finally:
            ended.set()

    began = time.monotonic()
    with pytest.raises(Cancelled):
        run_interruptibly(work, Face(patience=1))
    assert time.monotonic() - began < 2
    let_go.set()
    assert ended.wait(5)
    assert not reports


def test_an_estimate_speaks_of_seconds_and_minutes():
    assert str(CostEstimate(seconds=94.6, megabytes=312.0)) == "about 95 s and 0.31 GB"
    assert str(CostEstimate(seconds=250.0, megabytes=12_400.0)) == "about 4 min and 12 GB"
