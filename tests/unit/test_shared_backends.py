"""Steps whose settings differ only in what does not concern a backend share the process's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sam2_block import process_state
from sam2_block.backends.local import local_backend as local
from sam2_block.backends.remote import remote_backend as remote
from sam2_block.settings import SETTING_NAMES, Settings

LOCAL: dict[str, Any] = {
    "device": "cpu",
    "precision": "fp32",
    "cache_bytes": 1,
    "checkpoint_dir": Path("/weights"),
    "model_bytes": 1,
    "max_cores": 1,
    "max_encodes": 1,
}
OF_THE_ANSWER: dict[str, Any] = {"masks": "dense", "dense_mask_bytes": 0}
OF_THE_REQUEST: dict[str, Any] = {
    "max_prompts": 1,
    "max_points": 1,
    "allowed_versions": ("demo",),
    "execution": "remote",
    "api_url": "http://a",
    "api_key": "k3y",
    "allowed_api_urls": ("http://b",),
}
REMOTE: dict[str, Any] = {
    "max_concurrent_requests": 1,
    "deadline_s": 1.0,
    "upload_format": "png",
    "swap_channels": True,
}


@pytest.fixture(autouse=True)
def nothing_shared_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_state, "SHARED", process_state.SharedObjects())


def test_every_setting_is_judged_here() -> None:
    judged = {*LOCAL, *OF_THE_ANSWER, *OF_THE_REQUEST, *REMOTE}
    assert judged == set(SETTING_NAMES)


@pytest.mark.parametrize("name", [*LOCAL, *OF_THE_ANSWER, *OF_THE_REQUEST, *REMOTE])
def test_who_shares(name: str) -> None:
    value = {**LOCAL, **OF_THE_ANSWER, **OF_THE_REQUEST, **REMOTE}[name]
    default, other = Settings(), Settings().override(**{name: value})
    shares = local.shared_backend(other.local) is local.shared_backend(default.local)
    assert shares == (name not in LOCAL)
    shares = remote.shared_service(other.remote) is remote.shared_service(default.remote)
    assert shares == (name not in REMOTE)
