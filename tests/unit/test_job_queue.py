"""In which order the jobs of several calls run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from sam2_block.compute.job_queue import Call, JobQueue


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Recorder:
    """One core, kept busy until everything is in the queue; records what then runs."""

    def __init__(self) -> None:
        self.queue = JobQueue(1)
        self.order: list[str] = []
        self._callers: list[threading.Thread] = []
        self._may_begin = threading.Event()
        self.run(self.queue.begin(False), lambda _: self._may_begin.wait(60), 1)

    def call(self, name: str, jobs: int, *, is_image: bool = False) -> None:
        call = self.queue.begin(is_image)
        waiting = self.waiting()
        self.run(call, lambda _: self.order.append(name), jobs)
        wait_until(lambda: self.waiting() == waiting + jobs)

    def waiting(self) -> int:
        return len(self.queue._prompts) + len(self.queue._images)

    def run(self, call: Call, job: Callable[[int], object], jobs: int) -> None:
        thread = threading.Thread(target=self.queue.run, args=(call, job, range(jobs)))
        thread.start()
        self._callers.append(thread)

    def finish(self) -> str:
        self._may_begin.set()
        for caller in self._callers:
            caller.join(60)
        return "".join(self.order)


@pytest.fixture
def recorder() -> Recorder:
    recorder = Recorder()
    wait_until(lambda: not recorder.waiting())  # the core is busy
    return recorder


def test_calls_on_prompts_take_turns(recorder: Recorder) -> None:
    recorder.call("a", 5)
    recorder.call("b", 2)
    assert recorder.finish() == "ababaaa"


def test_images_go_one_after_the_other(recorder: Recorder) -> None:
    recorder.call("a", 3, is_image=True)
    recorder.call("b", 3, is_image=True)
    assert recorder.finish() == "aaabbb"


def test_prompts_go_before_images_but_leave_them_a_share(recorder: Recorder) -> None:
    recorder.call("I", 3, is_image=True)
    recorder.call("p", 12)
    assert recorder.finish() == "ppppIppppIppppI"


def test_a_call_that_comes_late_has_its_turn_with_those_before(recorder: Recorder) -> None:
    def begin_late(_: int) -> None:
        recorder.order.append("a")
        if len(recorder.order) == 3:
            recorder.call("b", 2)

    recorder.run(recorder.queue.begin(False), begin_late, 6)
    wait_until(lambda: recorder.waiting() == 6)
    assert recorder.finish() == "aaababaa"
