"""`sam2-block doctor`: what is installed, what is set, and what keeps SAM 2 from running."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sam2_block._version import __version__
from sam2_block.cli.console import print_message, print_result, redact_keys
from sam2_block.errors import RemoteError, RemoteStatusError, Sam2BlockError
from sam2_block.messages.one_line import one_line
from sam2_block.settings import ENV_PREFIX, HOSTED_URL, Settings, unknown_variables
from sam2_block.versions import DEMO, META_RELEASES, NAMES

OK, NOTE, PROBLEM = "ok", "note", "problem"
_PACKAGES = (
    "torch",
    "rf-sam-2",
    "roboflow-workflows",
    "inference",
    "inference-gpu",
    "inference-cpu",
    "supervision",
    "numpy",
    "opencv-python",
)
_SERVER_DEADLINE_S = 10.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What it is about.
        status: `ok`, `note` or `problem`.
        text: What was found, and for a problem what to do.
    """

    subject: str
    status: str
    text: str


def add_parser(commands: Any) -> None:
    """Add `doctor` to the parsers of the commands."""
    summary = "show versions, device, weights and settings, and what is wrong with them"
    parser = commands.add_parser("doctor", help=summary, description=summary.capitalize() + ".")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-server", action="store_true", help="send nothing to a server")
    parser.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> bool:
    if not arguments.json:
        print_message("importing torch and the Workflows engine (5 to 10 seconds)")
    findings = list(examine(ask_server=not arguments.no_server))
    if arguments.json:
        printed = print_result(
            redact_keys(json.dumps([asdict(finding) for finding in findings], indent=2))
        )
    else:
        width = max(len(finding.subject) for finding in findings)
        printed = print_result(
            "\n".join(
                redact_keys(f"{one.status:8}{one.subject:{width}}  {one.text}") for one in findings
            )
        )
    return printed and all(finding.status != PROBLEM for finding in findings)


def examine(ask_server: bool = True) -> Iterator[Finding]:
    """Yield what there is to know of this environment.

    Args:
        ask_server: Whether the server of remote steps may be sent a request, which costs nothing.
    """
    yield from _versions()
    try:
        settings = Settings.from_environment()
    except Sam2BlockError as error:
        yield Finding("settings", PROBLEM, str(error))
        settings = Settings()
    yield from _variables()
    subjects: list[tuple[str, Callable[[Settings], Iterator[Finding]]]] = [
        ("device", _device),
        ("weights", _weights),
        ("engine", _engine),
    ]
    if ask_server:
        subjects.append(("server", _server))
    for subject, findings_of in subjects:
        try:
            yield from findings_of(settings)
        except Sam2BlockError as error:
            yield Finding(subject, PROBLEM, str(error))
        except Exception as error:  # such as an import that fails
            yield Finding(subject, PROBLEM, one_line(f"{type(error).__name__}: {error}", 300))


def _versions() -> Iterator[Finding]:
    yield Finding("sam2-block", OK, __version__)
    yield Finding("Python", OK, f"{platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES:
        try:
            yield Finding(package, OK, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            if package in ("torch", "rf-sam-2", "roboflow-workflows"):
                yield Finding(package, PROBLEM, "not installed; install sam2-block again")


def _variables() -> Iterator[Finding]:
    for name, hint in unknown_variables(os.environ):
        yield Finding(name, PROBLEM, f"is not a setting and has no effect; {hint}")
    names = sorted(name for name in os.environ if name.startswith(ENV_PREFIX))
    shown = ", ".join(name for name in names if name != "SAM2_BLOCK_API_KEY")
    yield Finding("variables", OK, f"set: {shown}" if shown else "none set, all are defaults")


def _device(settings: Settings) -> Iterator[Finding]:
    import torch

    from sam2_block.backends.local.devices import choose_compute
    from sam2_block.compute.cores import usable_cores

    target = choose_compute(settings.local)
    text = f"{target.device} in {target.precision}"
    if target.device.type == "cuda":
        text += f" ({torch.cuda.get_device_name(target.device)})"
    if target.device.type == "cpu":
        text += f" on {usable_cores()} cores ({torch.backends.cpu.get_cpu_capability()})"
    yield Finding("device", OK, text)
    if target.device.type == "cpu" and torch.version.cuda and not torch.cuda.is_available():
        yield Finding("CUDA", NOTE, f"torch has CUDA {torch.version.cuda}, and there is no GPU")


def _weights(settings: Settings) -> Iterator[Finding]:
    from sam2_block.backends.local.models.checkpoints import find_checkpoint
    from sam2_block.backends.local.models.hub import file_sha256

    missing = []
    for version in NAMES:
        path = find_checkpoint(version, settings.local)
        if path is None:
            missing.append(version)
            continue
        digest = file_sha256(path)
        release = META_RELEASES.get(version)
        is_metas = release is None or digest == release.sha256
        text = f"{path} ({path.stat().st_size / 1e6:.0f} MB, SHA-256 {digest[:16]}...)"
        if version != DEMO:
            text += ", as Meta published it" if is_metas else ", not the file that Meta published"
        yield Finding(version, OK if is_metas else NOTE, text)
    if missing:
        text = f"not on this machine: {', '.join(missing)}; `sam2-block models fetch VERSION`"
        yield Finding("weights", NOTE, text)


def _engine(settings: Settings) -> Iterator[Finding]:
    from sam2_block.cli.engine import PLUGIN, configured_plugins, make_quiet

    if PLUGIN not in configured_plugins():
        plugins = os.environ.get("WORKFLOWS_PLUGINS", "")
        yield Finding(
            "plugin",
            PROBLEM,
            f"WORKFLOWS_PLUGINS is {plugins!r}, so the engine does not know the blocks of this"
            f" package; set WORKFLOWS_PLUGINS={PLUGIN} (with an underscore) where the engine runs"
            " (`sam2-block run` does it itself)",
        )
        return
    make_quiet()
    from roboflow_workflows.execution_engine.introspection.blocks_loader import load_workflow_blocks

    ours = [
        block.manifest_class.model_fields["type"]
        for block in load_workflow_blocks()
        if block.block_source == "sam2_block"
    ]
    yield Finding("plugin", OK, f"the engine loads {len(ours)} blocks of {PLUGIN}")


def _server(settings: Settings) -> Iterator[Finding]:
    from sam2_block.backends.remote.endpoints import choose_endpoint
    from sam2_block.backends.remote.http.client import HttpClient
    from sam2_block.backends.remote.http.retry import Deadline, RetryPolicy
    from sam2_block.backends.remote.remote_backend import SEGMENT_PATH
    from sam2_block.settings import RemoteSettings

    endpoint = choose_endpoint(settings.access, None, None)
    if endpoint.url == HOSTED_URL and not endpoint.api_key:
        yield Finding("server", NOTE, "not contacted: neither a server nor a key is set")
        return
    key = "with a key" if endpoint.api_key else "without a key"
    client = HttpClient(RemoteSettings(), retry_policy=RetryPolicy(max_attempts=1))
    # A request for an image that no server knows: it is refused before anything is computed.
    payload = {
        "image": {"type": "base64", "value": ""},
        "image_id": f"sam2_block-doctor-{uuid.uuid4()}",
        "sam2_version_id": "hiera_tiny",
        "prompts": {"prompts": []},
    }
    try:
        client.post(endpoint, SEGMENT_PATH, payload, Deadline(_SERVER_DEADLINE_S))
        yield Finding("server", OK, f"{endpoint.url} responds, {key}")
    except RemoteStatusError as error:
        if error.status in (401, 403):
            yield Finding("server", PROBLEM, str(error))
        elif error.status in (404, 405):
            yield Finding("server", PROBLEM, f"{error} Is it a server with SAM 2?")
        else:
            yield Finding("server", OK, f"{endpoint.url} responds, {key}")
    except RemoteError as error:
        yield Finding("server", PROBLEM, str(error))
    finally:
        client.close()
