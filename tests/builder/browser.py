"""Headless Chromium, and the library that makes forms; see CONTRIBUTING.md."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LIBRARY = "node_modules/@json-editor/json-editor/dist/jsoneditor.js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT_S = 120


def find_browser() -> str:
    """Return the browser's path, or skip the test."""
    found = [path for path in map(shutil.which, BROWSERS) if path]
    if not found:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found[0]


def find_library() -> Path:
    """Return the path of json-editor, or skip the test."""
    folder = Path(os.environ.get("FORM_LIBRARY_DIR", HERE))
    if not (folder / LIBRARY).is_file():
        pytest.skip(f"no library that makes forms: {folder / LIBRARY} is missing; see CONTRIBUTING")
    return folder / LIBRARY


def fill_in(folder: Path, schema: dict[str, Any], ways: dict[str, list[list[str]]]) -> Any:
    """Open a form in the browser and fill it in.

    Args:
        folder: Where the page and the browser's profile go.
        schema: What the form is made of.
        ways: Names of ways to fill it in, each with the calls of `Form` in form.html, in order.

    Returns:
        The form's `title`, what was `shown` of each field and each of its alternatives, and for
        each way the `values` that came out and the fields with `problems`.
    """
    browser, library = find_browser(), find_library()
    shutil.copy(library, folder / "jsoneditor.js")
    page = Path(shutil.copy(HERE / "form.html", folder))
    data = {"schema": schema, "ways": ways}
    (folder / "data.js").write_text(f"const data = {json.dumps(data)}\n")
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=120000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    found = re.search(r'<pre id="result">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, (
        f"{browser} gave no result (exit status {done.returncode}):\n{done.stderr[-2000:]}"
    )
    result = json.loads(html.unescape(found.group(1)))
    assert "error" not in result, result["error"]
    return result
