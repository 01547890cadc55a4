"""A segmenter is copied, pickled, closed and used as a context manager."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import supervision as sv

from sam2_block import Segmenter, process_state
from sam2_block.backends.fake import FakeBackend
from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.protocol import Backend
from sam2_block.errors import ClosedError, InputError, OptionError, SettingsError

PHOTO = np.zeros((40, 60, 3), dtype=np.uint8)
BOXES = sv.Detections(xyxy=np.array([[10.0, 5, 30, 25]]))
URL = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch) -> process_state.SharedObjects:
    own = process_state.SharedObjects()
    monkeypatch.setattr(process_state, "SHARED", own)
    return own


def pickled(segmenter: Segmenter) -> Segmenter:
    copied: Segmenter = pickle.loads(pickle.dumps(segmenter))
    return copied


COPIES: dict[str, Callable[[Segmenter], Segmenter]] = {
    "pickle": pickled,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "a copy of a pickle": lambda segmenter: copy.copy(pickled(segmenter)),
    "a pickle of a copy": lambda segmenter: pickled(copy.deepcopy(segmenter)),
}
each_copy = pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)


@each_copy
def test_version_and_server_travel(make_copy: Any) -> None:
    local = make_copy(Segmenter("sam2.1_hiera_small"))
    assert local.version == "sam2.1_hiera_small"
    assert isinstance(local.backend, LocalBackend)
    remote = make_copy(Segmenter.remote("hiera_large", api_url=URL))
    assert remote.version == "hiera_large"
    assert remote.backend._endpoint.url == URL


@each_copy
def test_a_given_backend_travels(make_copy: Any) -> None:
    copied = make_copy(Segmenter("demo", backend=FakeBackend(score=0.5)))
    rows = copied.segment(PHOTO, BOXES)
    assert int(rows.mask.sum()) == 400
    assert rows.confidence.tolist() == [0.5]


@each_copy
def test_copies_share_what_the_process_has(make_copy: Any) -> None:
    segmenter = Segmenter("demo")
    assert make_copy(segmenter).backend is segmenter.backend


@each_copy
def test_settings_are_read_where_the_copy_is(
    make_copy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter("demo")
    copied, refused = make_copy(segmenter), make_copy(segmenter)
    monkeypatch.setenv("SAM2_BLOCK_CACHE_BYTES", "123")
    assert copied.backend.settings.cache_bytes == 123
    assert segmenter.backend.settings.cache_bytes != 123
    # Not while it is unpickled: that would end a worker without a word.
    monkeypatch.setenv("SAM2_BLOCK_DEVICE", "gpu")
    with pytest.raises(SettingsError, match="SAM2_BLOCK_DEVICE"):
        refused.segment(PHOTO, BOXES)


class Extended(Segmenter):
    """A user's own, with more in it."""

    def __init__(self, version: str = "demo", **options: Any) -> None:
        super().__init__(version, **options)
        self.note = ["mine"]


@each_copy
def test_subclasses_keep_what_they_add(make_copy: Any) -> None:
    for segmenter in (Extended(), Extended.remote("hiera_tiny", api_url=URL)):
        copied = make_copy(segmenter)
        assert type(copied) is Extended
        assert copied.note == ["mine"]


KEY = "k3y-0123456789"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("is_given", [True, False])
def test_no_key_is_in_a_pickle(
    is_given: bool, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_given:
        monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    segmenter = Segmenter.remote(api_url=URL, api_key=KEY if is_given else None)
    assert segmenter.backend._endpoint.api_key == KEY
    for one in (segmenter, copy.copy(segmenter), pickle.loads(pickle.dumps(segmenter))):
        assert KEY.encode() not in pickle.dumps(one, protocol)
    assert KEY not in repr(vars(segmenter))


def test_the_key_of_the_environment_takes_the_place_of_one_that_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied = pickled(pickled(Segmenter.remote(api_url=URL, api_key=KEY)))
    with pytest.raises(
        SettingsError, match=r"is not part of its pickle.*Set ROBOFLOW_API_KEY"
    ) as error:
        copied.segment(PHOTO, BOXES)
    assert KEY not in str(error.value)
    monkeypatch.setenv("ROBOFLOW_API_KEY", "workers")
    assert copied.backend._endpoint.api_key == "workers"


def test_a_copy_in_the_process_keeps_the_key() -> None:
    segmenter = Segmenter.remote(api_url=URL, api_key=KEY)
    for copied in (copy.copy(segmenter), copy.deepcopy(segmenter)):
        assert copied.backend._endpoint.api_key == KEY


class Unpicklable(FakeBackend):
    def __init__(self) -> None:
        super().__init__()
        self.generator = iter_once()


def iter_once() -> Iterator[int]:
    yield 1


def test_a_backend_that_cannot_be_pickled_is_named() -> None:
    segmenter = Segmenter("demo", backend=Unpicklable())
    with pytest.raises(OptionError) as caught:
        pickle.dumps(segmenter)
    assert str(caught.value) == (
        "backend: a Unpicklable cannot be pickled (TypeError: cannot pickle 'generator' object), so"
        " neither can this segmenter. Create one in the other process."
    )
    assert copy.deepcopy(segmenter).backend is segmenter.backend


def segmenters() -> Sequence[Segmenter]:
    return [
        Segmenter("demo"),
        Segmenter("demo", backend=FakeBackend()),
        Segmenter.remote(api_url=URL),
        pickled(Segmenter("demo")),
    ]


@pytest.mark.parametrize("index", range(4))
def test_a_closed_segmenter_says_so(index: int) -> None:
    segmenter = segmenters()[index]
    segmenter.close()
    segmenter.close()
    for one in (segmenter, pickled(segmenter), copy.copy(segmenter)):
        with pytest.raises(ClosedError, match=r"^this Segmenter is closed; make another one\.$"):
            one.segment(PHOTO, BOXES)
    assert issubclass(ClosedError, InputError)


def test_a_context_closes_it_and_hides_no_error() -> None:
    with Segmenter("demo", backend=FakeBackend()) as segmenter:
        assert len(segmenter.segment(PHOTO, BOXES)) == 1
    with pytest.raises(ClosedError):
        _ = segmenter.backend
    with pytest.raises(ZeroDivisionError), Segmenter("demo", backend=FakeBackend()) as segmenter:
        _ = 1 // 0


class Given(FakeBackend):
    """A backend of the caller's own, which may have other users."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_a_given_backend_stays_open() -> None:
    backend = Given()
    Segmenter("demo", backend=backend).close()
    assert not backend.is_closed


@pytest.mark.parametrize("make", [lambda: Segmenter("demo"), lambda: Segmenter.remote(api_url=URL)])
def test_the_last_to_close_frees_what_they_share(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make(), make()
    third = copy.copy(second)
    shared = getattr(first.backend, "_service", first.backend)
    assert getattr(third.backend, "_service", third.backend) is shared
    closed: list[Any] = []
    monkeypatch.setattr(type(shared), "close", lambda one: closed.append(one))
    first.close()
    second.close()
    assert closed == []
    third.close()
    assert closed == [shared]


class ClosedMeanwhile(FakeBackend):
    """Is closed under the call, as by another thread, and fails as a closed client does."""

    segmenter: Segmenter
    error: Exception

    def predict(self, *_: Any, **__: Any) -> Any:
        self.segmenter.close()
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("Cannot send a request, as the client has been closed."), ClosedError),
        (OptionError("of the request"), OptionError),
    ],
)
def test_a_call_under_way_when_it_is_closed(error: Exception, expected: type[Exception]) -> None:
    backend = ClosedMeanwhile()
    backend.error = error
    backend.segmenter = Segmenter("demo", backend=backend)
    with pytest.raises(expected):
        backend.segmenter.segment(PHOTO, BOXES)


def test_backend_is_the_public_protocol() -> None:
    backend: Backend = Segmenter("demo", backend=FakeBackend()).backend
    assert isinstance(backend, FakeBackend)


def test_versions_that_the_operator_does_not_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = pickled(Segmenter("demo"))
    monkeypatch.setenv("SAM2_BLOCK_ALLOWED_VERSIONS", "hiera_tiny, sam2.1_hiera_large")
    message = (
        r"^version: the operator allows hiera_tiny, sam2\.1_hiera_large here"
        r" \(SAM2_BLOCK_ALLOWED_VERSIONS\); got '"
    )
    for make in (
        lambda: Segmenter("demo"),
        lambda: Segmenter("demo", backend=FakeBackend()),
        lambda: Segmenter.remote("hiera_large", api_url=URL),
        lambda: copied.segment(PHOTO, BOXES),
    ):
        with pytest.raises(OptionError, match=message):
            make()
    assert Segmenter("hiera_tiny").version == "hiera_tiny"
    with pytest.raises(OptionError, match="expected one of demo, "):
        Segmenter("huge")
