"""What the operator of a process decides, as opposed to what a workflow may ask for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from sam2_block import setting_values as values
from sam2_block.errors import SettingsError
from sam2_block.nearest_name import nearest_name
from sam2_block.versions import NAMES
from sam2_block.warn_once import warn_once

logger = logging.getLogger(__name__)

EXECUTIONS = ("any", "local", "remote")
ENV_PREFIX = "SAM2_BLOCK_"
MaskForm = Literal["auto", "dense", "compact"]
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DEFAULT_CACHE_BYTES = 512 * 1024**2
# All of Meta's eight models in one precision (3.1 GB in fp32), so that only a process whose steps
# differ in device, precision or folder as well ever loads one again.
DEFAULT_MODEL_BYTES = 4 * 1024**3
DEFAULT_DENSE_MASK_BYTES = 1024**3
# More than people and detectors give, and still minutes of work at the most.
DEFAULT_MAX_PROMPTS = 10_000
DEFAULT_MAX_POINTS = 500
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
class Settings:
    """The operator's settings; each is the environment variable `SAM2_BLOCK_<NAME>`.

    SAM 2 in this process:

    Attributes:
        device: `auto` (CUDA, then MPS, then CPU), or a torch device such as `cpu` or `cuda:1`.
        precision: `auto` (chosen from the device), `fp32`, `bf16` or `fp16`.
        cache_bytes: Most bytes that the embeddings of encoded images may take; 0 keeps none.
        checkpoint_dir: Folder with Meta's checkpoints under Meta's own file names, or None.
        model_bytes: Most bytes that loaded models may take; the least recently used are unloaded.
        max_cores: Maximum of cores that SAM 2 keeps busy; 0 for those that the process may use.
        max_encodes: Maximum of images encoded at once; more wait in order of arrival.

    Wherever SAM 2 runs:

        allowed_versions: The versions that a request may name.
        masks: `dense` (always a NumPy array), `compact` (always `sv.CompactMask`), or `auto`.
        dense_mask_bytes: Most bytes that the masks of one image may take as a dense array under
            `auto`; where they would take more, they are held as `sv.CompactMask`.

    What a request may bring, wherever SAM 2 runs:

        max_prompts: Maximum of boxes plus points for one image.
        max_points: Maximum of points for one object.

    Where SAM 2 may run:

        execution: `any`, `local` or `remote`; a request for another target is refused.

    SAM 2 on a server:

        api_url: The operator's server. Unset, it is Roboflow's hosted API, or, where the engine's
            own blocks call another (`WORKFLOWS_REMOTE_API_TARGET` other than `hosted`), that at
            `LOCAL_INFERENCE_API_URL`.
        api_key: The operator's key, for the operator's server only; unset, `ROBOFLOW_API_KEY`.
        allowed_api_urls: Further servers that a workflow may name.
        max_concurrent_requests: Most requests under way at once to one server.
        connect_timeout_s: Longest wait for a connection.
        read_timeout_s: Longest silence of a server.
        deadline_s: Most seconds for one image, all its requests, waits and repeats included.
        max_attempts: Most tries of one request.
        backoff_s: Longest wait before the second try; it doubles with every one after.
        max_backoff_s: Longest wait between tries that this process chooses by itself.
        upload_format: `png` (lossless), `jpeg`, or `auto`: PNG up to `png_max_pixels`.
        png_max_pixels: Largest image that `auto` sends as PNG.
        jpeg_quality: 1 to 100.
        swap_channels: Send red and blue in each other's place, for a server that swaps them.
    """

    device: str = _setting("auto", values.device)
    precision: str = _setting("auto", values.one_of(*PRECISIONS))
    cache_bytes: int = _setting(DEFAULT_CACHE_BYTES, values.whole_number("bytes", 0))
    checkpoint_dir: Path | None = _setting(None, values.folder)
    model_bytes: int = _setting(DEFAULT_MODEL_BYTES, values.whole_number("bytes", 0))
    max_cores: int = _setting(0, values.whole_number("cores", 0, 1024))
    max_encodes: int = _setting(2, values.whole_number("images", 1, 1024))

    allowed_versions: tuple[str, ...] = _setting(NAMES, values.names_of("versions", NAMES))
    masks: MaskForm = _setting("auto", values.one_of(*get_args(MaskForm)))
    dense_mask_bytes: int = _setting(DEFAULT_DENSE_MASK_BYTES, values.whole_number("bytes", 0))

    max_prompts: int = _setting(DEFAULT_MAX_PROMPTS, values.whole_number("prompts", 1))
    max_points: int = _setting(DEFAULT_MAX_POINTS, values.whole_number("points", 1))

    execution: str = _setting("any", values.one_of(*EXECUTIONS))

    api_url: str = _setting(HOSTED_URL, values.url)
    api_key: str | None = _setting(None, values.secret, also="ROBOFLOW_API_KEY", shown=False)
    allowed_api_urls: tuple[str, ...] = _setting((), values.urls)
    max_concurrent_requests: int = _setting(4, values.whole_number("requests", 1, 256))
    connect_timeout_s: float = _setting(10.0, values.seconds)
    read_timeout_s: float = _setting(60.0, values.seconds)
    deadline_s: float = _setting(180.0, values.seconds)
    max_attempts: int = _setting(4, values.whole_number("tries", 1))
    backoff_s: float = _setting(0.5, values.seconds)
    max_backoff_s: float = _setting(8.0, values.seconds)
    upload_format: str = _setting("auto", values.one_of("auto", "png", "jpeg"))
    png_max_pixels: int = _setting(2048 * 2048, values.whole_number("pixels", 0))
    jpeg_quality: int = _setting(95, values.whole_number("quality", 1, 100))
    swap_channels: bool = _setting(False, values.boolean)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read every setting; one that is unset or blank has its default.

        Args:
            environment: Variables to read in place of the process's own.

        Raises:
            SettingsError: A variable has a value that its setting cannot take.
        """
        environment = os.environ if environment is None else environment
        _warn_of_unknown_variables(environment)
        texts: dict[str, Any] = {}
        for setting in fields(cls):
            own = environment.get(ENV_PREFIX + setting.name.upper(), "").strip()
            text = own or environment.get(setting.metadata["also"], "").strip()
            if text:
                texts[setting.name] = text
        if "api_url" not in texts:
            texts["api_url"] = _server_of_the_engine(environment)
        return cls().override(**texts)

    def override(self, **changed: Any) -> Settings:
        """Return a copy with some settings replaced; text is read as in the environment.

        Raises:
            SettingsError: A value cannot be taken, or there is no such setting.
        """
        readers = {setting.name: setting.metadata["read"] for setting in fields(self)}
        unknown = set(changed) - set(readers)
        if unknown:
            raise SettingsError(f"no such setting: {', '.join(sorted(unknown))}.")
        read: dict[str, Any] = {}
        for name, value in changed.items():
            try:
                read[name] = readers[name](value)
            except values.HiddenValueError as error:
                raise SettingsError(f"{ENV_PREFIX}{name.upper()}: {error}") from None
            except ValueError as error:
                raise SettingsError(
                    f"{ENV_PREFIX}{name.upper()}: expected {error}; got {value!r}."
                ) from None
        return replace(self, **read)

    def local(self) -> Settings:
        """Return the key of the process-wide local backend: all other settings are defaults.

        Steps whose settings differ only elsewhere share one backend.
        """
        return self._keeping(_LOCAL)

    def remote(self) -> Settings:
        """Return the key of the process-wide remote service: all other settings are defaults.

        Steps with different servers or API keys share its connections and limits.
        """
        return self._keeping(_REMOTE)

    def _keeping(self, names: Iterable[str]) -> Settings:
        return Settings(**{name: getattr(self, name) for name in names})


SETTING_NAMES = tuple(setting.name for setting in fields(Settings))

_LOCAL = (
    "device",
    "precision",
    "cache_bytes",
    "checkpoint_dir",
    "model_bytes",
    "max_cores",
    "max_encodes",
)
_RESULTS = ("masks", "dense_mask_bytes")
_REQUESTS = ("allowed_versions", "max_prompts", "max_points", "execution")
_ELSEWHERE = (*_LOCAL, *_RESULTS, *_REQUESTS, "api_url", "api_key", "allowed_api_urls")
_REMOTE = tuple(name for name in SETTING_NAMES if name not in _ELSEWHERE)


def _warn_of_unknown_variables(environment: Mapping[str, str]) -> None:
    """Warn of variables that no setting reads, by name: a value may be a key."""
    names = [name.upper() for name in SETTING_NAMES]
    known = {ENV_PREFIX + name for name in names}
    for variable in sorted(set(environment) - known):
        if not variable.upper().startswith(ENV_PREFIX):
            continue
        meant = nearest_name(variable[len(ENV_PREFIX) :], names)
        warn_once(
            logger,
            ("unknown variable", variable),
            "%s is not a setting and has no effect; %s",
            variable[:80],
            f"did you mean {ENV_PREFIX}{meant}?" if meant else "the README lists the settings.",
        )


def _server_of_the_engine(environment: Mapping[str, str]) -> str:
    """Return the server that the engine's own blocks call, from the engine's own variables."""
    if environment.get("WORKFLOWS_REMOTE_API_TARGET", "hosted").strip().lower() == "hosted":
        return HOSTED_URL
    text = environment.get("LOCAL_INFERENCE_API_URL", "").strip() or "http://127.0.0.1:9001"
    try:
        return str(values.url(text))
    except ValueError as error:
        raise SettingsError(f"LOCAL_INFERENCE_API_URL: {error}") from None
