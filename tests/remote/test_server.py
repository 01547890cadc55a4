"""What the endpoints of a real server answer: the facts that the remote backend is built on."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.remote import server
from tests.remote.server import VERSION, Sam2Server, running_server

KNOWN = "coins"
EMPTY = {"type": "base64", "value": ""}
BOX = {"box": {"x": 98, "y": 56, "width": 36, "height": 36}}
POINT = {"points": [{"x": 98, "y": 56, "positive": True}]}

Segment = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def client(sam2_server: Sam2Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sam2_server.url, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def image(coins: np.ndarray) -> dict[str, str]:
    png = cv2.imencode(".png", coins)[1].tobytes()
    return {"type": "base64", "value": base64.b64encode(png).decode()}


@pytest.fixture(scope="module")
def embedded(client: httpx.Client, image: dict[str, str]) -> httpx.Response:
    """Let the server know the coins as `KNOWN`."""
    payload = {"image": image, "image_id": KNOWN, "sam2_version_id": VERSION}
    return client.post("/sam2/embed_image", json=payload)


@pytest.fixture(scope="module")
def segment(client: httpx.Client, embedded: httpx.Response) -> Segment:
    """Return a function that asks for the known image's masks, except as its arguments say."""

    def segment(*prompts: dict[str, Any], **others: Any) -> httpx.Response:
        payload = {
            "image": EMPTY,
            "image_id": KNOWN,
            "prompts": {"prompts": prompts},
            "sam2_version_id": VERSION,
            "format": "rle",
        }
        return client.post("/sam2/segment_image", json={**payload, **others})

    return segment


def test_an_embedded_image_has_the_id_that_was_sent(embedded: httpx.Response) -> None:
    assert embedded.status_code == 200
    assert embedded.json()["image_id"] == KNOWN


@pytest.mark.parametrize("as_known", [False, True], ids=["image sent", "image known"])
def test_a_box_is_answered_with_one_mask_of_the_image_s_size(
    segment: Segment, image: dict[str, str], coins: np.ndarray, as_known: bool
) -> None:
    answer = segment(BOX, image=EMPTY if as_known else image)
    assert answer.status_code == 200
    [prediction] = answer.json()["predictions"]
    assert prediction["format"] == "rle"
    assert prediction["masks"]["size"] == [*coins.shape[:2]]
    assert isinstance(prediction["masks"]["counts"], str)
    assert 0 < prediction["confidence"] <= 1


def test_a_known_id_stands_for_its_image_whatever_is_sent(
    segment: Segment, coins: np.ndarray
) -> None:
    png = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    other = {"type": "base64", "value": base64.b64encode(png).decode()}
    [prediction] = segment(BOX, image=other).json()["predictions"]
    assert prediction["masks"]["size"] == [*coins.shape[:2]]


def test_no_prompt_is_answered_with_a_guess(segment: Segment) -> None:
    assert len(segment().json()["predictions"]) == 1


def test_no_number_is_answered_with_an_empty_mask_without_a_score(
    segment: Segment, client: httpx.Client
) -> None:
    request = segment(BOX).request
    body = request.content.replace(b'"width":36', b'"width":NaN')
    assert body != request.content
    answer = client.post(request.url, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["confidence"] is None


# What is sent in place of the usual -> the status, and a part of the message.
REFUSED = {
    "an unknown id": ({"image_id": "nobody"}, 400, "Cause: Empty image payload."),
    "no id": ({"image_id": None}, 400, "Cause: Empty image payload."),
    "an image that cannot be read": (
        {"image_id": "nobody", "image": {"type": "base64", "value": "aGVsbG8="}},
        400,
        "Cause: Malformed base64 input image.",
    ),
    "prompts with and without a box": (
        {"prompts": {"prompts": [BOX, POINT]}},
        400,
        "Error with model input. Cause: ",
    ),
    # These two come as if the server had failed.
    "a version that it lacks": (
        {"sam2_version_id": "hiera_small"},
        500,
        "Could not retrieve model No offline-weights record found for model 'sam2/hiera_small'",
    ),
    "an unknown format": ({"format": "png"}, 500, "Internal error."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_has_a_message(segment: Segment, name: str) -> None:
    changes, status, message = REFUSED[name]
    answer = segment(BOX, **changes)
    assert answer.status_code == status
    assert message in answer.json()["message"]


# A prompt -> the kind of the first mistake, and where it is below the list of prompts.
MALFORMED: dict[str, tuple[dict[str, Any], str, list[Any]]] = {
    "a box without a height": (
        {"box": {"x": 1, "y": 2, "width": 3}},
        "missing",
        [1, "box", "height"],
    ),
    "a point that is text": (
        {"points": [{"x": "left", "y": 1, "positive": True}]},
        "float_parsing",
        [1, "points", 0, "x"],
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_prompt_is_located(segment: Segment, name: str) -> None:
    prompt, kind, place = MALFORMED[name]
    answer = segment(BOX, prompt)
    assert answer.status_code == 422
    assert [*answer.json()] == ["detail"]
    [mistake] = answer.json()["detail"]
    assert {"type", "loc", "msg", "input"} <= mistake.keys()
    assert mistake["type"] == kind
    assert mistake["loc"] == ["body", "prompts", "prompts", *place]


def test_an_image_is_asked_for_even_with_an_id(segment: Segment) -> None:
    answer = segment(BOX, image=None)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "image"]


@pytest.mark.parametrize("key", [None, "", "garbage"])
def test_a_server_without_a_whitelist_takes_any_key(segment: Segment, key: str | None) -> None:
    assert segment(BOX, api_key=key).status_code == 200


def test_the_server_has_the_plugin(client: httpx.Client) -> None:
    answer = client.post("/workflows/blocks/describe", json={})
    assert "sam2_block/segment@v1" in answer.text


def test_the_server_has_the_weights_of_the_checkpoint_dir(sam2_server: Sam2Server) -> None:
    [served] = (sam2_server.log_path.parent / "work").glob("sam2/*/model.pt")
    assert served.samefile(sam2_server.checkpoint_dir / "sam2_hiera_tiny.pt")


def test_the_log_can_be_read_while_the_server_runs(
    sam2_server: Sam2Server, embedded: httpx.Response
) -> None:
    assert "POST /sam2/embed_image" in sam2_server.log_path.read_text()


def test_a_server_that_does_not_start_shows_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PROGRAM", "raise SystemExit('no room for a server')")
    checkpoint = tmp_path / "sam2_hiera_tiny.pt"
    checkpoint.touch()
    with pytest.raises(RuntimeError, match=r"exit status 1\b.*\n.*no room for a server"):
        running_server(tmp_path / "server", checkpoint).__enter__()


def test_the_server_s_environment_has_no_key_and_no_settings_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ROBOFLOW_API_KEY", "API_KEY", "SAM2_BLOCK_API_URL"):
        monkeypatch.setenv(name, "from-outside")
    environment = server._environment(tmp_path, "http://127.0.0.1:9", tmp_path / "weights")
    assert "from-outside" not in environment.values()
    assert environment["SAM2_BLOCK_CHECKPOINT_DIR"] == str(tmp_path / "weights")
