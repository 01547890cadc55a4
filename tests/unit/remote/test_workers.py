from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator

import pytest

from sam2_block.backends.remote import workers as workers_module
from sam2_block.backends.remote.retry import Deadline
from sam2_block.backends.remote.workers import Workers
from sam2_block.errors import RemoteError, RemoteTimeoutError

# How long a test waits before it fails; when all is well nothing waits this long.
PATIENCE_S = 30.0
URL = "http://sam2.test"


@pytest.fixture
def make() -> Callable[[int], Workers]:
    """Make workers."""
    return Workers


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hanging calls wait for; set in the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def little_time(monkeypatch: pytest.MonkeyPatch) -> Deadline:
    monkeypatch.setattr(workers_module, "_GRACE_S", 0.05)
    return Deadline(0.05)


def hang(release: threading.Event) -> str:
    assert release.wait(PATIENCE_S)
    return "late"


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("calls", [0, 1, 5])
def test_results_are_in_the_order_of_the_calls(
    count: int, calls: int, make: Callable[[int], Workers]
) -> None:
    work = [functools.partial(str, index) for index in range(calls)]
    expected = [str(index) for index in range(calls)]
    assert make(count).run(work, Deadline(PATIENCE_S), URL) == expected


def test_order_is_not_that_in_which_they_end(make: Callable[[int], Workers]) -> None:
    second_is_done = threading.Event()
    calls = [lambda: second_is_done.wait(PATIENCE_S), second_is_done.set]
    assert make(2).run(calls, Deadline(PATIENCE_S), URL) == [True, None]


def test_bound_is_shared_by_all_who_ask(make: Callable[[int], Workers]) -> None:
    workers = make(2)
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

    askers = [
        threading.Thread(target=workers.run, args=([call] * 4, Deadline(PATIENCE_S), URL))
        for _ in range(3)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(PATIENCE_S)
    assert (len(most), max(most)) == (12, 2)


def test_first_failure_in_order_is_raised(make: Callable[[int], Workers]) -> None:
    second_has_failed = threading.Event()

    def first() -> None:
        assert second_has_failed.wait(PATIENCE_S)
        raise RemoteError("the first")

    def second() -> None:
        second_has_failed.set()
        raise RemoteError("the second")

    with pytest.raises(RemoteError, match=r"^the first$"):
        make(2).run([first, second], Deadline(PATIENCE_S), URL)


def test_calls_not_begun_are_dropped_after_a_failure(
    make: Callable[[int], Workers], release: threading.Event
) -> None:
    workers = make(1)
    begun = []

    def failing() -> None:
        raise RemoteError("failed")

    def next_in_line() -> None:
        begun.append("next")
        hang(release)

    later = [functools.partial(begun.append, index) for index in range(100)]
    with pytest.raises(RemoteError, match=r"^failed$"):
        workers.run([failing, next_in_line, *later], Deadline(PATIENCE_S), URL)
    release.set()
    # The only thread is done with all that was left to it when it answers this.
    assert workers.run([lambda: "after"], Deadline(PATIENCE_S), URL) == ["after"]
    assert set(begun) <= {"next"}


@pytest.mark.parametrize("error", [KeyError("x"), RemoteTimeoutError("own"), SystemExit(3)])
def test_failure_of_any_kind_is_passed_on(
    error: BaseException, make: Callable[[int], Workers]
) -> None:
    with pytest.raises(type(error)) as caught:
        make(2).run([functools.partial(fail, error)], Deadline(PATIENCE_S), URL)
    assert caught.value is error


def test_nobody_waits_for_a_call_that_hangs(
    make: Callable[[int], Workers], release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, ended = threading.Event(), threading.Event()

    def call() -> None:
        started.set()
        hang(release)
        ended.set()

    monkeypatch.setattr(workers_module, "_GRACE_S", 0.05)
    with pytest.raises(RemoteTimeoutError) as caught:
        make(2).run([call, str], Deadline(0.05), URL)
    assert str(caught.value) == (
        f"{URL} had not answered when the 0.05 s for one image were over (SAM2_BLOCK_DEADLINE_S)."
    )
    # It was not waited for, and it ends by itself.
    assert started.wait(PATIENCE_S)
    assert not ended.is_set()
    release.set()
    assert ended.wait(PATIENCE_S)


def test_call_that_waits_in_line_too_long_is_never_made(
    make: Callable[[int], Workers], release: threading.Event, little_time: Deadline
) -> None:
    workers = make(1)
    begun = []
    calls = [functools.partial(hang, release), functools.partial(begun.append, "second")]
    with pytest.raises(RemoteTimeoutError):
        workers.run(calls, little_time, URL)
    release.set()
    assert workers.run([lambda: "after"], Deadline(PATIENCE_S), URL) == ["after"]
    assert begun == []


def test_call_that_gives_up_by_itself_may_say_why(
    make: Callable[[int], Workers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "_GRACE_S", PATIENCE_S)
    call = functools.partial(fail, RemoteTimeoutError("silent for too long"))
    with pytest.raises(RemoteTimeoutError, match=r"^silent for too long$"):
        make(1).run([call], Deadline(0.0), URL)


def test_hanging_calls_leave_their_places_to_others_and_let_the_process_end(
    make: Callable[[int], Workers], release: threading.Event, little_time: Deadline
) -> None:
    workers = make(2)
    with pytest.raises(RemoteTimeoutError):
        workers.run([functools.partial(hang, release)] * 2, little_time, URL)
    hanging = [thread for thread in threading.enumerate() if thread.name == "sam2_block-remote"]
    assert len(hanging) == 2
    assert all(thread.daemon for thread in hanging)
    assert workers.run([str, str], Deadline(PATIENCE_S), URL) == ["", ""]
    release.set()
    for thread in hanging:
        thread.join(PATIENCE_S)
    # The places are not given back twice.
    both = threading.Barrier(2, timeout=0.2)
    third = functools.partial(both.wait)
    workers.run([third, third], Deadline(PATIENCE_S), URL)
    assert workers._places._value == 2
