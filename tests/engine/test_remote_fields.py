"""The fields of remote execution in the real engine: which server is asked, with which key."""

from __future__ import annotations

import functools
import logging
import threading
import traceback
from typing import Any

import httpx
import numpy as np
import pytest
from roboflow_workflows.errors import RuntimeInputError, StepExecutionError, WorkflowError
from roboflow_workflows.execution_engine.core import ExecutionEngine
from roboflow_workflows.execution_engine.introspection.workload import describe_workflow_workload
from roboflow_workflows.prototypes.block import WorkOperation

from sam2_block import process_state
from sam2_block.backends.local import local_backend
from sam2_block.backends.remote import remote_backend
from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.remote_backend import EMBED_PATH, SEGMENT_PATH
from sam2_block.blocks import block as base
from sam2_block.settings import SETTING_NAMES, Settings
from tests.engine.workflows import parameter, scene, segment, workflow
from tests.unit.remote.fake_endpoint import FakeEndpoint, refuse
from tests.unit.remote.scripted_server import Transport

IMAGE = scene(60, 80, (10, 8, 30, 20))
POINT = [[20, 20]]
OPERATORS, WORKFLOWS = "operators-0123456789", "workflows-9876543210"
INPUTS = [parameter("api_url"), parameter("api_key"), parameter("version")]


class Network(FakeEndpoint):
    """Every server there is; each is a SAM 2 endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        return super().__call__(request)

    @property
    def keys(self) -> set[str | None]:
        return {body.get("api_key") for _, body in self.requests}


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    client = functools.partial(HttpClient, transport=Transport(network))
    monkeypatch.setattr(remote_backend, "HttpClient", client)
    monkeypatch.setattr(process_state, "SHARED", process_state.SharedObjects())
    return network


def step(**fields: Any) -> dict[str, Any]:
    return segment(
        **{"points": POINT, "version": "hiera_tiny", "execution_mode": "remote", **fields}
    )


def run(
    definition: dict[str, Any], environment: dict[str, str] | None = None, **values: Any
) -> Any:
    settings = Settings.from_environment(environment or {})
    own = {f"sam2_block.{name}": settings.value_of(name) for name in SETTING_NAMES}
    engine = ExecutionEngine.init(definition, init_parameters=own)
    return engine.run({"image": IMAGE, **values})


SERVERS = {
    "hosted": ({}, "https://serverless.roboflow.com"),
    "own server, the engine's variables": (
        {
            "WORKFLOWS_REMOTE_API_TARGET": "self-hosted",
            "LOCAL_INFERENCE_API_URL": "http://gpu.local:9001/",
        },
        "http://gpu.local:9001",
    ),
    "own server, ours": ({"SAM2_BLOCK_API_URL": "http://10.0.0.7:9001"}, "http://10.0.0.7:9001"),
    "dedicated deployment": (
        {"SAM2_BLOCK_API_URL": "https://mine.roboflow.cloud"},
        "https://mine.roboflow.cloud",
    ),
}


@pytest.mark.parametrize("name", SERVERS)
def test_operator_s_server_gets_the_operator_s_key(network: Network, name: str) -> None:
    environment, url = SERVERS[name]
    run(workflow(step()), {**environment, "ROBOFLOW_API_KEY": OPERATORS})
    assert network.asked == [url + SEGMENT_PATH]
    assert network.keys == {OPERATORS}


@pytest.mark.parametrize(
    ("mode", "engines", "remote"),
    [
        ("auto", "remote", True),
        ("remote", "local", True),
        ("remote", "remote", True),
    ],
)
def test_execution_mode(
    network: Network, monkeypatch: pytest.MonkeyPatch, mode: str, engines: str, remote: bool
) -> None:
    monkeypatch.setattr(base, "WORKFLOWS_STEP_EXECUTION_MODE", engines)
    run(workflow(step(execution_mode=mode)))
    assert bool(network.asked) is remote


@pytest.mark.parametrize(("mode", "engines"), [("auto", "local"), ("local", "remote")])
def test_local_execution_asks_nobody(
    network: Network, monkeypatch: pytest.MonkeyPatch, mode: str, engines: str
) -> None:
    monkeypatch.setattr(base, "WORKFLOWS_STEP_EXECUTION_MODE", engines)
    (result,) = run(workflow(step(execution_mode=mode, version="demo")))
    assert len(result["predictions"]) == 1
    assert network.asked == []


def test_step_s_own_key_goes_to_the_operator_s_server(network: Network) -> None:
    definition = workflow(step(api_key="$inputs.api_key"), inputs=INPUTS)
    run(definition, {"ROBOFLOW_API_KEY": OPERATORS}, api_key=WORKFLOWS)
    assert network.keys == {WORKFLOWS}


NAMED = ["https://theirs.roboflow.cloud", "http://listed.test:9001"]


@pytest.mark.parametrize("url", NAMED)
@pytest.mark.parametrize("key", [None, WORKFLOWS])
def test_operator_s_key_never_goes_to_a_server_that_the_workflow_names(
    network: Network, url: str, key: str | None
) -> None:
    definition = workflow(step(api_url="$inputs.api_url", api_key="$inputs.api_key"), inputs=INPUTS)
    environment = {
        "ROBOFLOW_API_KEY": OPERATORS,
        "SAM2_BLOCK_ALLOWED_API_URLS": "http://listed.test:9001",
    }
    run(definition, environment, api_url=url, api_key=key)
    assert network.asked == [url + SEGMENT_PATH]
    assert network.keys == {key}


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.test",
        "https://evil.test",
        "http://localhost:9001",  # what the operator runs is not the workflow's to call
        "http://serverless.roboflow.com",  # not over TLS
        "https://roboflow.com.evil.test",
        "http://listed.test:9002",
    ],
)
def test_server_that_is_not_allowed_is_not_asked(network: Network, url: str) -> None:
    definition = workflow(step(api_url=url, api_key=WORKFLOWS))
    with pytest.raises(RuntimeInputError, match="the operator of this server does not allow"):
        run(definition, {"SAM2_BLOCK_ALLOWED_API_URLS": "http://listed.test:9001"})
    assert network.asked == []


def test_embed_block_follows_the_same_rules(network: Network) -> None:
    outputs = {"image": "$steps.embed.image"}
    ahead = {**embed("remote", "hiera_tiny"), "api_url": "$inputs.api_url"}
    definition = workflow(ahead, inputs=INPUTS, outputs=outputs)
    (result,) = run(definition, {}, api_url="https://theirs.roboflow.cloud")
    np.testing.assert_array_equal(result["image"].numpy_image, IMAGE)
    assert network.asked == ["https://theirs.roboflow.cloud" + EMBED_PATH]
    with pytest.raises(RuntimeInputError, match="does not allow"):
        run(definition, {}, api_url="https://evil.test")


def test_step_without_detections_asks_nobody(network: Network) -> None:
    definition = workflow(
        {"type": "BlobDetector", "name": "detector", "image": "$inputs.image"},
        step(points=None, boxes="$steps.detector.predictions"),
    )
    own = {f"sam2_block.{n}": Settings().value_of(n) for n in SETTING_NAMES}
    engine = ExecutionEngine.init(definition, init_parameters=own)
    (result,) = engine.run({"image": scene(60, 80)})
    assert len(result["predictions"]) == 0
    assert network.asked == []


@pytest.mark.parametrize("spoilt", ["echo", "break", "refuse"])
def test_key_is_in_no_message_and_no_log(
    network: Network, caplog: pytest.LogCaptureFixture, spoilt: str
) -> None:
    def spoil(request: httpx.Request) -> httpx.Response:
        if spoilt == "break":
            raise httpx.ConnectError(f"cannot reach {request.content!r}", request=request)
        if spoilt == "echo":
            return httpx.Response(500, content=request.content)
        return refuse(401, f"unknown key {WORKFLOWS}")

    network.spoil = spoil
    caplog.set_level(logging.DEBUG)
    definition = workflow(step(api_key=WORKFLOWS))
    with pytest.raises(StepExecutionError) as caught:
        run(definition)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    shown += repr(caught.value.inner_error) + str(vars(caught.value.inner_error))
    assert "serverless.roboflow.com" in shown
    assert WORKFLOWS not in shown


def test_key_is_not_shown_where_the_definition_is_wrong() -> None:
    mistakes: list[dict[str, Any]] = [
        {"threshold": 7},
        {"points": None},
        {"version": "demo"},
        {"api_url": 5},
        {"execution_mode": "local"},
    ]
    for fields in mistakes:
        with pytest.raises(WorkflowError) as caught:
            ExecutionEngine.init(workflow(step(api_key=WORKFLOWS, **fields)))
        shown = "".join(traceback.format_exception(caught.value))
        assert WORKFLOWS not in shown, fields


def test_version_that_no_endpoint_offers_is_refused_at_compile_time() -> None:
    with pytest.raises(WorkflowError) as caught:
        ExecutionEngine.init(workflow(step(version="sam2.1_hiera_tiny")))
    assert "a SAM 2 endpoint offers hiera_tiny" in str(caught.value.__dict__) + str(caught.value)


@pytest.mark.parametrize(
    ("version", "model_id"), [("hiera_small", "sam2/hiera_small"), ("$inputs.version", None)]
)
def test_remote_step_declares_the_request_and_the_model(version: str, model_id: str | None) -> None:
    definition = workflow(step(version=version), inputs=INPUTS)
    (described,) = describe_workflow_workload(definition).steps
    operations = {WorkOperation.MODEL_INFERENCE, WorkOperation.EXTERNAL_REQUEST}
    assert set(described.operations.items) == operations
    if model_id is None:  # known when it runs
        assert not described.resources.complete
        return
    assert described.resources.complete
    (resource,) = described.resources.items
    assert resource.metadata.model_id == model_id
    assert resource.metadata.provider == "roboflow"


def test_images_of_a_batch_are_under_way_together(network: Network) -> None:
    barrier = threading.Barrier(3)

    def wait(request: httpx.Request) -> None:
        barrier.wait(timeout=30)

    network.spoil = wait
    photos = [scene(60, 80, (10, 8, 30 + index, 20)) for index in range(6)]
    results = run(workflow(step()), {"SAM2_BLOCK_MAX_CONCURRENT_REQUESTS": "3"}, image=photos)
    assert len(results) == 6
    assert network.uploads == 6


def test_failure_on_one_image_of_a_batch_names_it(network: Network) -> None:
    photos = [scene(60, 80), scene(10, 10)]
    with pytest.raises(RuntimeInputError, match=r"^image 1: points: .* lies outside the image"):
        run(workflow(step()), image=photos)


def test_failure_of_a_server_names_the_image(network: Network) -> None:
    network.spoil = lambda request: refuse(403, "no")
    with pytest.raises(
        StepExecutionError, match=r"^image 0: https://.* returned status 403: it does not"
    ):
        run(workflow(step()))


def embed(mode: str, version: str) -> dict[str, Any]:
    return {
        "type": "sam2_block/embed@v1",
        "name": "embed",
        "images": "$inputs.image",
        "execution_mode": mode,
        "version": version,
    }


def test_segmenting_what_a_server_embedded_sends_no_second_image(network: Network) -> None:
    segmented = step(images="$steps.embed.image")
    run(workflow(embed("remote", "hiera_tiny"), segmented))
    assert [path for path, _ in network.requests] == [EMBED_PATH, SEGMENT_PATH]
    assert network.uploads == 1


def test_segmenting_what_was_embedded_here_encodes_nothing(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    original = local_backend.encode

    def encode(*args: Any) -> Any:
        encoded.append(threading.current_thread())
        return original(*args)

    monkeypatch.setattr(local_backend, "encode", encode)
    segmented = step(images="$steps.embed.image", version="demo", execution_mode="local")
    cache = {"SAM2_BLOCK_CACHE_BYTES": "123456789"}  # a cache of its own
    (result,) = run(workflow(embed("local", "demo"), segmented), cache)
    assert len(result["predictions"]) == 1
    assert len(encoded) == 1
    assert network.asked == []
