"""The real `inference` server in a process of its own, with a random SAM 2 model on its disk."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

sys.path.append(str(Path(__file__).parents[2] / "tools"))

from inference_home import make_package, offline_environment

START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 10
VERSION = "hiera_tiny"

# The socket comes from the parent, which so knows the port before the server's configuration is
# read. Stdin ends when the parent does: a test run that is killed leaves no server behind.
PROGRAM = """
import os, signal, socket, sys, threading

def end_with_the_parent():
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=end_with_the_parent, daemon=True).start()

import uvicorn
from inference.core.interfaces.http.http_api import HttpInterface
from inference.core.managers.base import ModelManager
from inference.core.registries.roboflow import RoboflowModelRegistry
from inference.models.utils import ROBOFLOW_MODEL_TYPES

app = HttpInterface(ModelManager(RoboflowModelRegistry(ROBOFLOW_MODEL_TYPES))).app
server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1"))
server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""


@dataclass(frozen=True)
class Sam2Server:
    """A server that answers.

    Attributes:
        url: Where, without a slash at the end.
        checkpoint_dir: Folder with the weights it serves, under Meta's own file name.
        log_path: What it has written to stdout and stderr so far.
    """

    url: str
    checkpoint_dir: Path
    log_path: Path


@contextlib.contextmanager
def running_server(folder: Path, checkpoint: Path, *, offline: bool = True) -> Iterator[Sam2Server]:
    """Run the server while the context lasts.

    Args:
        folder: An empty folder, outside which the server writes nothing.
        checkpoint: Meta's `.pt` file of `VERSION`.
        offline: Its `OFFLINE_MODE`, in which no step of its workflows runs on a server.

    Raises:
        RuntimeError: The server ended, or was not up in time; has the end of its log.
    """
    work_dir, log_path = folder / "work", folder / "server.log"
    _lay_out(work_dir, checkpoint)
    # Not in the working directory: a script's own folder heads `sys.path`, and there a folder
    # named `inference`, which the server wants beside it, would hide the package.
    program = folder / "program" / "serve.py"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    with socket.create_server(("127.0.0.1", 0)) as listener, log_path.open("wb") as log:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, str(program), str(listener.fileno())],
            cwd=work_dir,
            env=_environment(folder, url, checkpoint.parent, offline),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # its children can then be ended with it
        )
    try:
        _wait_until_up(process, url, log_path)
        yield Sam2Server(url=url, checkpoint_dir=checkpoint.parent, log_path=log_path)
    finally:
        _stop(process)


def _lay_out(work_dir: Path, checkpoint: Path) -> None:
    """Make what the server expects under its working directory: a model, and a landing page."""
    make_package(work_dir).hardlink_to(checkpoint)
    for name in ("static", "_next/static"):
        (work_dir / "inference/landing/out" / name).mkdir(parents=True)


def _environment(
    folder: Path, url: str, checkpoint_dir: Path, offline: bool = True
) -> dict[str, str]:
    """Return this process's environment without keys and our settings, and with the server's own.

    `import inference.core`, which the tests do, leaves paths and an offline latch in
    `os.environ`; those are not the server's either.
    """
    unwanted = ("SAM2_BLOCK_", "WORKFLOWS_", "XDG_", "HF_", "_ROBOFLOW_INFERENCE_")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(unwanted) and name not in ("ROBOFLOW_API_KEY", "API_KEY")
    }
    return {
        **environment,
        **offline_environment(folder / "home"),
        "OFFLINE_MODE": str(offline),
        "WORKFLOWS_REMOTE_API_TARGET": "self-hosted",
        "LOCAL_INFERENCE_API_URL": url,
        "SAM2_BLOCK_CHECKPOINT_DIR": str(checkpoint_dir),
    }


def _wait_until_up(process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    """Wait for an answer: the socket listens already, and is reset if the server ends."""
    try:
        httpx.get(f"{url}/info", timeout=START_TIMEOUT_S, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        tail = log_path.read_text(errors="replace")[-4000:]
        raise RuntimeError(
            f"the inference server is not up ({error!r}, exit status {process.returncode}):\n{tail}"
        ) from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server, and then what may be left of its process group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
