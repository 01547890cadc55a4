"""The operator's settings by subject, so that each part of the package receives only its own."""

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
        default: Its value if it is not set.
        read: The reader of its value, which may be text.
        also: A variable that is read if this package's own is not set.
        shown: Whether it may appear in a `repr`.
    """
    return field(default=default, repr=shown, metadata={"read": read, "also": also})


@dataclass(frozen=True)
class LocalSettings:
    """SAM 2 in this process.

    Attributes:
        device: `auto` (CUDA, then MPS, then CPU), or a torch device such as `cpu` or `cuda:1`.
        precision: `auto` (chosen from the device), `fp32`, `bf16` or `fp16`.
        cache_bytes: Maximum size of the cache of embeddings; 0 caches none.
        checkpoint_dir: Folder with Meta's checkpoints under Meta's own file names, or None.
        model_bytes: Maximum size of the loaded models; the least recently used are unloaded.
        max_cores: Maximum number of cores that SAM 2 uses; 0 for all that the process may use.
        max_encodes: Maximum number of images encoded at once; more wait in order of arrival.
        checkpoint_file: File to load for every version; from `Segmenter(checkpoint=...)`, and no
            setting of the operator.
    """

    device: str = _setting("auto", values.device)
    precision: str = _setting("auto", values.one_of(*PRECISIONS))
    cache_bytes: int = _setting(512 * 1024**2, values.whole_number("bytes", 0))
    checkpoint_dir: Path | None = _setting(None, values.folder)
    # Enough for all of Meta's eight models in one precision (3.1 GB in fp32), so only a process
    # whose steps also differ in device, precision or folder ever reloads a model.
    model_bytes: int = _setting(4 * 1024**3, values.whole_number("bytes", 0))
    max_cores: int = _setting(0, values.whole_number("cores", 0, 1024))
    max_encodes: int = _setting(2, values.whole_number("images", 1, 1024))
    checkpoint_file: str | None = None


@dataclass(frozen=True)
class OutputSettings:
    """The form of the masks, wherever SAM 2 runs.

    Attributes:
        masks: `dense` (always a NumPy array), `compact` (always `sv.CompactMask`), or `auto`.
        dense_mask_bytes: Maximum size of the masks of one image as a dense array under `auto`;
            larger ones are stored as `sv.CompactMask`.
    """

    masks: MaskForm = _setting("auto", values.one_of(*get_args(MaskForm)))
    dense_mask_bytes: int = _setting(1024**3, values.whole_number("bytes", 0))


@dataclass(frozen=True)
class LimitSettings:
    """Maximum boxes and points of one image, wherever SAM 2 runs.

    Attributes:
        max_prompts: Maximum number of boxes plus points. It bounds the time.
        max_points: Maximum number of points for one object. It bounds the memory.
    """

    # More than people and detectors produce, and still processed within minutes.
    max_prompts: int = _setting(10_000, values.whole_number("prompts", 1))
    max_points: int = _setting(500, values.whole_number("points", 1))


@dataclass(frozen=True)
class AccessSettings:
    """What a workflow may use: targets, versions, servers and the operator's key.

    Attributes:
        execution: `any`, `local` or `remote`; a request for another target is rejected.
        allowed_versions: The versions that a request may name.
        api_url: The operator's server. By default Roboflow's hosted API, or the server at
            `LOCAL_INFERENCE_API_URL` if the engine's own blocks call that one
            (`WORKFLOWS_REMOTE_API_TARGET` other than `hosted`).
        api_key: The key for the operator's server only; by default `ROBOFLOW_API_KEY`.
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
        max_concurrent_requests: Maximum number of concurrent requests to one server.
        deadline_s: Maximum number of seconds for one image: all its requests, waits and retries.
        upload_format: `png` (lossless), `jpeg`, or `auto`: PNG up to 2048x2048 pixels.
        swap_channels: Exchange red and blue in uploads, for a server that swaps them.
    """

    max_concurrent_requests: int = _setting(4, values.whole_number("requests", 1, 256))
    deadline_s: float = _setting(180.0, values.seconds)
    upload_format: str = _setting("auto", values.one_of("auto", "png", "jpeg"))
    swap_channels: bool = _setting(False, values.boolean)
