"""The operator's settings by subject, so that each part of the package takes only its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from sam2_block.settings import values
from sam2_block.versions import NAMES

EXECUTIONS = ("any", "local", "remote")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MaskForm = Literal["auto", "dense", "compact"]
HOSTED_URL = "https://serverless.roboflow.com"


def _setting(default: Any, read: values.Reader, *, also: str = "", shown: bool = True) -> Any:
    """Declare a setting.

    Args:
        default: Its value where nothing sets it.
        read: Reads its value, from text as well.
        also: A variable that is read where this package's own is not set.
        shown: Whether it may appear in a `repr`.
    """
    return field(default=default, repr=shown, metadata={"read": read, "also": also})


@dataclass(frozen=True)
class LocalSettings:
    """SAM 2 in this process.

    Attributes:
        device: `auto` (CUDA, then MPS, then CPU), or a torch device such as `cpu` or `cuda:1`.
        precision: `auto` (chosen from the device), `fp32`, `bf16` or `fp16`.
        cache_bytes: Maximum size of the cache of embeddings; 0 keeps none.
        checkpoint_dir: Folder with Meta's checkpoints under Meta's own file names, or None.
        model_bytes: Maximum size of the loaded models; the least recently used are unloaded.
        max_cores: Maximum of cores that SAM 2 keeps busy; 0 for those that the process may use.
        max_encodes: Maximum of images encoded at once; more wait in order of arrival.
    """

    device: str = _setting("auto", values.device)
    precision: str = _setting("auto", values.one_of(*PRECISIONS))
    cache_bytes: int = _setting(512 * 1024**2, values.whole_number("bytes", 0))
    checkpoint_dir: Path | None = _setting(None, values.folder)
    # All of Meta's eight models in one precision (3.1 GB in fp32), so that only a process whose
    # steps differ in device, precision or folder as well ever loads one again.
    model_bytes: int = _setting(4 * 1024**3, values.whole_number("bytes", 0))
    max_cores: int = _setting(0, values.whole_number("cores", 0, 1024))
    max_encodes: int = _setting(2, values.whole_number("images", 1, 1024))


@dataclass(frozen=True)
class OutputSettings:
    """The form of the masks, wherever SAM 2 runs.

    Attributes:
        masks: `dense` (always a NumPy array), `compact` (always `sv.CompactMask`), or `auto`.
        dense_mask_bytes: Maximum size of the masks of one image as a dense array under `auto`;
            larger ones are held as `sv.CompactMask`.
    """

    masks: MaskForm = _setting("auto", values.one_of(*get_args(MaskForm)))
    dense_mask_bytes: int = _setting(1024**3, values.whole_number("bytes", 0))


@dataclass(frozen=True)
class LimitSettings:
    """How much one image may bring, wherever SAM 2 runs.

    Attributes:
        max_prompts: Maximum of boxes plus points. It bounds the time.
        max_points: Maximum of points for one object. It bounds the memory.
    """

    # More than people and detectors give, and still a matter of minutes.
    max_prompts: int = _setting(10_000, values.whole_number("prompts", 1))
    max_points: int = _setting(500, values.whole_number("points", 1))


@dataclass(frozen=True)
class AccessSettings:
    """What a workflow may use: targets, versions, servers and the operator's key.

    Attributes:
        execution: `any`, `local` or `remote`; a request for another target is refused.
        allowed_versions: The versions that a request may name.
        api_url: The operator's server. Unset, it is Roboflow's hosted API, or, where the engine's
            own blocks call another (`WORKFLOWS_REMOTE_API_TARGET` other than `hosted`), that at
            `LOCAL_INFERENCE_API_URL`.
        api_key: The key for the operator's server only; unset, `ROBOFLOW_API_KEY`.
        allowed_api_urls: Further servers that a workflow may name.
    """

    execution: str = _setting("any", values.one_of(*EXECUTIONS))
    allowed_versions: tuple[str, ...] = _setting(NAMES, values.names_of("versions", NAMES))
    api_url: str = _setting(HOSTED_URL, values.url)
    api_key: str | None = _setting(None, values.secret, also="ROBOFLOW_API_KEY", shown=False)
    allowed_api_urls: tuple[str, ...] = _setting((), values.urls)


@dataclass(frozen=True)
class RemoteSettings:
    """How requests are sent, to whichever server.

    Attributes:
        max_concurrent_requests: Maximum of requests under way at once to one server.
        deadline_s: Maximum of seconds for one image: all its requests, waits and retries.
        upload_format: `png` (lossless), `jpeg`, or `auto`: PNG up to 2048x2048 pixels.
        swap_channels: Send red and blue in each other's place, for a server that swaps them.
    """

    max_concurrent_requests: int = _setting(4, values.whole_number("requests", 1, 256))
    deadline_s: float = _setting(180.0, values.seconds)
    upload_format: str = _setting("auto", values.one_of("auto", "png", "jpeg"))
    swap_channels: bool = _setting(False, values.boolean)
