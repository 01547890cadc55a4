"""A real SAM 2 endpoint, for tests over real HTTP."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sam2_block.backends.local.local_backend import LocalBackend
from sam2_block.backends.select import choose_backend
from sam2_block.prompts import Prompt
from sam2_block.settings import LocalSettings, Settings
from tests.local.conftest import checkpoint_dir, random_checkpoint  # noqa: F401 - fixtures
from tests.remote.server import VERSION, Sam2Server, running_server

# What `inference[http]` installs and the server imports. Only looked for: the import takes seconds.
SERVER_MODULES = ("inference.core.interfaces.http.http_api", "uvicorn", "fastapi_cprofile")


@pytest.fixture(scope="session")
def sam2_server(
    tmp_path_factory: pytest.TempPathFactory,
    random_checkpoint: Callable[[str], Path],  # noqa: F811 - the imported fixture
) -> Iterator[Sam2Server]:
    """Run an `inference` server with random weights of `hiera_tiny` until the session ends."""
    missing = [module for module in SERVER_MODULES if not _is_installed(module)]
    if missing:
        pytest.skip(f"no inference server: {', '.join(missing)} is not installed")
    with running_server(tmp_path_factory.mktemp("server"), random_checkpoint(VERSION)) as server:
        yield server


@pytest.fixture(scope="session")
def online_server(
    sam2_server: Sam2Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sam2Server]:
    """Run a server whose workflows may have remote steps; it calls itself."""
    checkpoint = next(sam2_server.checkpoint_dir.glob("*.pt"))
    folder = tmp_path_factory.mktemp("online-server")
    with running_server(folder, checkpoint, offline=False) as server:
        yield server


@pytest.fixture(scope="session")
def swaps_channels(sam2_server: Sam2Server) -> bool:
    """Whether the server hands SAM 2 blue for red, told by a picture that is all red."""
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 2] = 255
    here = LocalBackend(
        LocalSettings(device="cpu", precision="fp32", checkpoint_dir=sam2_server.checkpoint_dir)
    )
    there = choose_backend(Settings().override(api_url=sam2_server.url), "remote")
    right, swapped, answered = (
        backend.predict(
            picture,
            [Prompt(box_xyxy=(8.0, 8.0, 40.0, 40.0))],
            version=VERSION,
            multimask_output=True,
        )[0].score
        for backend, picture in ((here, red), (here, red[..., ::-1]), (there, red))
    )
    assert abs(right - swapped) > 1e-4  # or the two could not be told apart
    return abs(answered - swapped) < abs(answered - right)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False
