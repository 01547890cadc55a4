"""The plugin loaded by a real server, and driven over HTTP as users drive it."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import httpx
import numpy as np
from inference_sdk import InferenceHTTPClient

from tests.engine.workflows import parameter, segment, workflow
from tests.examples.conftest import read_example
from tests.remote.server import VERSION, Sam2Server

TYPES = {"sam2_block/segment@v1", "sam2_block/embed@v1"}


def post(server: Sam2Server, path: str, body: Any) -> httpx.Response:
    return httpx.post(server.url + path, json=body, timeout=300, trust_env=False)


def run(server: Sam2Server, definition: dict[str, Any], image: np.ndarray, **values: Any) -> Any:
    _, content = cv2.imencode(".png", image)
    picture = {"type": "base64", "value": base64.b64encode(content.tobytes()).decode()}
    body = {"specification": definition, "api_key": "any", "inputs": {"image": picture, **values}}
    return post(server, "/workflows/run", body)


def masks(answer: Any) -> np.ndarray:
    from pycocotools import mask as coco_mask

    rows = answer["predictions"]["predictions"]
    return np.array([coco_mask.decode(row["rle_mask"]) for row in rows], dtype=bool)


def test_server_finds_and_masks_the_coins(online_server: Sam2Server, coins: np.ndarray) -> None:
    answer = run(online_server, read_example("detect_then_segment.json"), coins)
    assert answer.status_code == 200, answer.text
    (outputs,) = answer.json()["outputs"]
    found = masks(outputs)
    assert found.shape == (24, *coins.shape[:2])
    assert found.any((1, 2)).all()
    assert len(outputs["scores"]) == 24


def test_workflow_in_the_server_calls_an_endpoint(
    online_server: Sam2Server, coins: np.ndarray
) -> None:
    """The server's own endpoint: what `LOCAL_INFERENCE_API_URL` names."""
    example = read_example("remote_detect_then_segment.json")
    there = run(online_server, example, coins)
    assert there.status_code == 200, there.text
    for step in example["steps"]:
        if step["type"] in TYPES:
            step["execution_mode"] = "local"
    here = run(online_server, example, coins)
    assert here.status_code == 200, here.text
    remote, local = (masks(answer.json()["outputs"][0]) for answer in (there, here))
    # A grey photo, so that the colour order plays no part.
    ious = (remote & local).sum((1, 2)) / (remote | local).sum((1, 2))
    assert ious.min() > 0.99


def test_roboflow_s_own_client_runs_the_workflow(
    online_server: Sam2Server, coins: np.ndarray
) -> None:
    client = InferenceHTTPClient(api_url=online_server.url, api_key="any")
    definition = workflow(segment(points="$inputs.points"), inputs=[parameter("points")])
    (outputs,) = client.run_workflow(
        specification=definition,
        images={"image": coins},
        parameters={"points": [[[151, 60]], [[347, 186]]]},
    )
    assert masks(outputs).shape == (2, *coins.shape[:2])
    assert len(outputs["scores"]) == 2


def test_bad_input_is_the_caller_s_fault(online_server: Sam2Server, coins: np.ndarray) -> None:
    definition = workflow(segment(points="$inputs.points"), inputs=[parameter("points")])
    answer = run(online_server, definition, coins, points=[[5000, 10]])
    assert answer.status_code == 400
    assert "image 0: points: object 0, point 0: (5000, 10) lies outside the image" in answer.text


def test_forbidden_server_is_the_caller_s_fault_and_no_key_is_shown(
    online_server: Sam2Server, coins: np.ndarray
) -> None:
    step = segment(
        points=[[151, 60]],
        version=VERSION,
        execution_mode="remote",
        api_url="http://evil.test",
        api_key="rf_0123456789",
    )
    answer = run(online_server, workflow(step), coins)
    assert answer.status_code == 400
    assert "does not allow http://evil.test" in answer.text
    assert "rf_0123456789" not in answer.text
    assert "rf_0123456789" not in online_server.log_path.read_text(errors="replace")
