from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from sam2_block.backends.remote import workers
from sam2_block.backends.remote.http.retry import Deadline
from sam2_block.backends.remote.workers import run_with_deadline
from sam2_block.errors import RemoteError, RemoteTimeoutError

# How long a test waits before it fails; when all is well nothing waits this long.
PATIENCE_S = 30.0
URL = "http://sam2.test"


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hanging calls wait for; set in the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(autouse=True)
def little_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_GRACE_S", 0.05)


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("max_workers", [1, 2, 8])
@pytest.mark.parametrize("calls", [0, 1, 5])
def test_results_are_in_the_order_of_the_calls(max_workers: int, calls: int) -> None:
    work = [functools.partial(str, index) for index in range(calls)]
    expected = [str(index) for index in range(calls)]
    assert run_with_deadline(work, max_workers, Deadline(PATIENCE_S), URL) == expected


def test_order_is_not_that_in_which_they_end() -> None:
    second_is_done = threading.Event()
    calls = [lambda: second_is_done.wait(PATIENCE_S), second_is_done.set]
    assert run_with_deadline(calls, 2, Deadline(PATIENCE_S), URL) == [True, None]


def test_no_more_are_made_at_once_than_asked_for() -> None:
    lock = threading.Lock()
    both = threading.Barrier(2, timeout=PATIENCE_S)
    running: list[int] = []
    most: list[int] = []

    def call() -> None:
        with lock:
            running.append(1)
            most.append(len(running))
        both.wait()
        with lock:
            running.pop()
        both.wait()

    run_with_deadline([call] * 8, 2, Deadline(PATIENCE_S), URL)
    assert (len(most), max(most)) == (8, 2)


def test_first_failure_in_order_is_raised() -> None:
    second_has_failed = threading.Event()

    def first() -> None:
        assert second_has_failed.wait(PATIENCE_S)
        raise RemoteError("the first")

    def second() -> None:
        second_has_failed.set()
        raise RemoteError("the second")

    with pytest.raises(RemoteError, match=r"^the first$"):
        run_with_deadline([first, second], 2, Deadline(PATIENCE_S), URL)


def test_calls_not_begun_are_dropped_after_a_failure(release: threading.Event) -> None:
    begun: list[str] = []
    thread: list[threading.Thread] = []

    def failing() -> None:
        thread.append(threading.current_thread())
        raise RemoteError("failed")

    def next_in_line() -> None:  # the thread may be here before the failure is seen
        begun.append("next")
        assert release.wait(PATIENCE_S)

    later = [functools.partial(begun.append, "later")] * 100
    with pytest.raises(RemoteError, match=r"^failed$"):
        run_with_deadline([failing, next_in_line, *later], 1, Deadline(PATIENCE_S), URL)
    release.set()
    thread[0].join(PATIENCE_S)
    assert set(begun) <= {"next"}


def test_calls_under_way_have_no_time_left_after_a_failure(release: threading.Event) -> None:
    deadline, begun = Deadline(PATIENCE_S), threading.Event()

    def failing() -> None:
        assert begun.wait(PATIENCE_S)
        raise RemoteError("failed")

    def hanging() -> None:
        begun.set()
        assert release.wait(PATIENCE_S)

    with pytest.raises(RemoteError, match=r"^failed$"):
        run_with_deadline([failing, hanging], 2, deadline, URL)
    assert deadline.remaining_s() == 0


def test_deadline_goes_on_after_success() -> None:
    deadline = Deadline(PATIENCE_S)
    run_with_deadline([lambda: None] * 3, 2, deadline, URL)
    assert deadline.remaining_s() > 0


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        SystemExit(3),
        RemoteTimeoutError("own"),
        # These are not taken for the deadline.
        TimeoutError("mine"),
        CancelledError(),
    ],
    ids=repr,
)
def test_failure_of_any_kind_is_passed_on(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        run_with_deadline([functools.partial(fail, error)], 2, Deadline(PATIENCE_S), URL)
    assert caught.value is error


def test_nobody_waits_for_a_call_that_hangs_nor_does_the_exit_of_the_process(
    release: threading.Event,
) -> None:
    started, ended = threading.Event(), threading.Event()
    thread: list[threading.Thread] = []

    def call() -> None:
        thread.append(threading.current_thread())
        started.set()
        assert release.wait(PATIENCE_S)
        ended.set()

    with pytest.raises(RemoteTimeoutError) as caught:
        run_with_deadline([call, str], 2, Deadline(0.05), URL)
    assert str(caught.value) == (
        f"{URL} did not respond within the 0.05 s for one image (SAM2_BLOCK_DEADLINE_S)."
    )
    if started.wait(PATIENCE_S):  # it may begin late, on a busy machine, or be dropped before
        assert not ended.is_set()
        assert thread[0].daemon
        release.set()
        assert ended.wait(PATIENCE_S)


def test_call_that_gives_up_by_itself_may_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_GRACE_S", PATIENCE_S)
    call = functools.partial(fail, RemoteTimeoutError("silent for too long"))
    with pytest.raises(RemoteTimeoutError, match=r"^silent for too long$"):
        run_with_deadline([call], 1, Deadline(0.0), URL)
