"""Where SAM 2 may run; and offline means that nothing leaves: no name, no socket, no image."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from sam2_block import process_state
from sam2_block import settings as settings_module
from sam2_block.backends import execution
from sam2_block.backends.execution import is_offline, target_of_auto
from sam2_block.backends.remote import remote_backend
from sam2_block.backends.remote.endpoints import Endpoint
from sam2_block.backends.remote.remote_backend import RemoteBackend, RemoteService
from sam2_block.backends.remote.wire import ImageFormat
from sam2_block.backends.select import choose_backend
from sam2_block.errors import ExecutionNotAllowedError, RemoteError
from sam2_block.prompts import Prompt
from sam2_block.segmenter import Segmenter
from sam2_block.settings import AccessSettings, RemoteSettings, Settings

IMAGE = np.zeros((20, 20, 3), np.uint8)
LATCH = "_ROBOFLOW_INFERENCE_OFFLINE_MODE_AT_PROCESS_START"
ELSEWHERE = [settings_module.HOSTED_URL, "http://10.0.0.7:9001", "http://sam2.internal", "http://x"]
LOOPBACK = ["http://localhost:9001", "http://127.0.0.1:9001", "http://127.9.9.9", "http://[::1]:1"]


class UsedError(Exception):
    """Something was about to leave."""


@pytest.fixture
def nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    def used(*_: Any, **__: Any) -> None:
        raise UsedError

    for name in ("getaddrinfo", "create_connection", "socket", "gethostbyname"):
        monkeypatch.setattr(socket, name, used)
    monkeypatch.setattr(ImageFormat, "encode", used)
    monkeypatch.setattr(process_state, "SHARED", process_state.SharedObjects())


@pytest.mark.parametrize(
    ("environment", "offline"),
    [
        ({}, False),
        *(({"OFFLINE_MODE": off}, False) for off in ("", " ", "False", "false", "0", "no", "off")),
        # The engine takes `true` alone, and does not start with anything else.
        *(({"OFFLINE_MODE": on}, True) for on in ("True", " true ", "1", "yes", "on", "x")),
        ({LATCH: "True"}, True),
        ({LATCH: "False"}, False),
        ({LATCH: "True", "OFFLINE_MODE": "False"}, True),
        ({LATCH: "False", "OFFLINE_MODE": "True"}, True),
    ],
)
def test_offline(environment: dict[str, str], offline: bool) -> None:
    assert is_offline(environment) is offline


@pytest.mark.usefixtures("nothing_leaves")
@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("variable", ["OFFLINE_MODE", LATCH])
def test_nothing_leaves_an_offline_process(
    variable: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "True")
    said = f"^api_url: {url} is not on this machine, and OFFLINE_MODE is enabled; nothing was sent"
    with pytest.raises(ExecutionNotAllowedError, match=said.replace("[", r"\[")):
        Segmenter.remote("hiera_tiny", api_url=url, api_key="k3yk3yk3y")
    with pytest.raises(ExecutionNotAllowedError, match=said):
        choose_backend(Settings().override(api_url=url), "remote")


@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("call", ["predict", "embed"])
def test_process_that_goes_offline_later(
    url: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last gate is before each request, whoever made the backend."""
    service = RemoteService(RemoteSettings())
    backend = RemoteBackend(service, Endpoint(url, "k3yk3yk3y"))

    def used(*_: Any, **__: Any) -> None:
        raise UsedError

    monkeypatch.setattr(socket, "create_connection", used)
    monkeypatch.setattr(socket, "getaddrinfo", used)
    monkeypatch.setenv("OFFLINE_MODE", "True")
    prompt = Prompt(box_xyxy=(0, 0, 9, 9))
    calls = {
        "embed": lambda: backend.embed(IMAGE, version="hiera_tiny"),
        "predict": lambda: backend.predict(
            IMAGE, [prompt], version="hiera_tiny", multimask_output=True
        ),
    }
    with pytest.raises(ExecutionNotAllowedError, match="OFFLINE_MODE"):
        calls[call]()
    service.close()


@pytest.mark.parametrize("url", LOOPBACK)
def test_program_of_its_own_may_call_a_server_on_its_machine(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFLINE_MODE", "True")
    assert isinstance(choose_backend(Settings().override(api_url=url), "remote"), RemoteBackend)


def test_no_proxy_is_used_while_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for a server on this machine either: the proxy is elsewhere."""
    with (
        socket.create_server(("127.0.0.1", 0)) as proxy,
        socket.create_server(("127.0.0.1", 0)) as unused,
    ):
        closed = unused.getsockname()[1]
        unused.close()
        monkeypatch.setenv("OFFLINE_MODE", "True")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setattr(process_state, "SHARED", process_state.SharedObjects())
        settings = Settings().override(api_url=f"http://127.0.0.1:{closed}")
        with pytest.raises(RemoteError, match="no connection to"):
            choose_backend(settings, "remote").embed(IMAGE, version="hiera_tiny")
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


@pytest.mark.usefixtures("nothing_leaves")
@pytest.mark.parametrize("variable", ["SECURE_GATEWAY", "LICENSE_SERVER"])
@pytest.mark.parametrize(
    ("url", "refused"),
    [
        (settings_module.HOSTED_URL, True),
        ("https://detect.roboflow.com", True),
        ("https://mine.roboflow.cloud", True),
        ("http://sam2.internal:9001", False),
        ("http://localhost:9001", False),
    ],
)
def test_roboflow_is_not_reached_behind_a_gateway(
    variable: str, url: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "is_offline", lambda: False)
    monkeypatch.setattr(remote_backend, "shared_service", lambda settings, user: None)
    monkeypatch.setenv(variable, "https://gateway.local")
    if not refused:
        choose_backend(Settings().override(api_url=url), "remote")
        return
    with pytest.raises(ExecutionNotAllowedError, match=rf"secure gateway \({variable}\)"):
        choose_backend(Settings().override(api_url=url), "remote")


@pytest.mark.parametrize("allowed", ["any", "local", "remote"])
@pytest.mark.parametrize("target", ["local", "remote"])
def test_operator_decides_where(allowed: str, target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings().override(execution=allowed)
    if allowed in ("any", target):
        choose_backend(settings, target)
        return
    with pytest.raises(ExecutionNotAllowedError) as caught:
        choose_backend(settings, target)
    assert str(caught.value) == (
        f"execution_mode: the operator of this process allows {allowed} execution only"
        f" (SAM2_BLOCK_EXECUTION); got {target}. Use {allowed} or auto."
    )
    monkeypatch.setenv("SAM2_BLOCK_EXECUTION", allowed)
    with pytest.raises(ExecutionNotAllowedError):
        Segmenter.remote("hiera_tiny") if target == "remote" else Segmenter("demo")


@pytest.mark.parametrize(
    ("allowed", "engine_runs_remotely", "offline", "target"),
    [
        ("any", False, False, "local"),
        ("any", True, False, "remote"),
        ("any", True, True, "local"),
        ("local", True, False, "local"),
        ("remote", False, False, "remote"),
        # Refused, then: what the operator wants cannot be had.
        ("remote", False, True, "remote"),
    ],
)
def test_auto_takes_what_is_allowed(
    allowed: str,
    engine_runs_remotely: bool,
    offline: bool,
    target: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OFFLINE_MODE", str(offline))
    assert target_of_auto(AccessSettings(execution=allowed), engine_runs_remotely) == target


def test_engine_is_not_imported_to_learn_it() -> None:
    code = (
        "import sys; from sam2_block import Segmenter\n"
        "try: Segmenter.remote('hiera_tiny')\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print({'roboflow_workflows', 'inference', 'torch'} & set(sys.modules))"
    )
    environment = {"OFFLINE_MODE": "True", "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["ExecutionNotAllowedError", "set()"]
