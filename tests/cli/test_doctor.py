"""`sam2-block doctor`: what it finds, and what it never shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sam2_block.cli import doctor, main

KEY = "k3y-of-the-operator-0123"


def findings(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["doctor", "--json", *arguments])
    return status, {one["subject"]: one for one in json.loads(capsys.readouterr().out)}


def test_a_sound_environment(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = findings(capsys, "--no-server")
    assert status == 0
    assert found["plugin"]["status"] == "ok"
    assert "2 blocks" in found["plugin"]["text"]
    assert (
        found["device"]["text"].startswith("cpu in fp32 on ") or "cuda" in found["device"]["text"]
    )
    assert "SHA-256" in found["demo"]["text"]
    assert found["weights"]["status"] == "note"
    for package in ("torch", "roboflow-workflows", "supervision"):
        assert found[package]["status"] == "ok"


def test_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("WORKFLOWS_PLUGINS")
    monkeypatch.setenv("SAM2_BLOCK_DEVCE", "cpu")
    monkeypatch.setenv("SAM2_BLOCK_CACHE_BYTES", "lots")
    status, found = findings(capsys, "--no-server")
    assert status == 1
    assert found["plugin"]["status"] == "problem"
    assert (
        "set WORKFLOWS_PLUGINS=sam2_block (with an underscore) where the engine runs"
        in found["plugin"]["text"]
    )
    assert "did you mean SAM2_BLOCK_DEVICE?" in found["SAM2_BLOCK_DEVCE"]["text"]
    assert "SAM2_BLOCK_CACHE_BYTES: expected a whole number" in str(list(found.values()))


def test_a_server_that_nobody_runs_is_a_problem_once_it_was_chosen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAM2_BLOCK_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SAM2_BLOCK_API_KEY", KEY)
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if " server " in line]
    assert line.startswith("problem")
    assert "no connection to http://127.0.0.1:1" in line
    assert KEY not in out + err


def test_no_finding_costs_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> Any:
        raise ImportError(f"libGL.so.1, {KEY}")

    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    monkeypatch.setattr(doctor, "_device", fail)
    status, found = findings(capsys, "--no-server")
    assert status == 1
    assert found["device"]["text"].startswith("ImportError: libGL.so.1")
    assert KEY not in str(found)
    assert found["plugin"]["status"] == "ok"
