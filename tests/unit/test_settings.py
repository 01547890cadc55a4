from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sam2_block.errors import SettingsError
from sam2_block.messages.warn_once import forget_warnings
from sam2_block.settings import HOSTED_URL, SETTING_NAMES, LocalSettings, Settings
from sam2_block.versions import NAMES

ON = ("true", "1", "yes", "on")


def test_defaults() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings().local == LocalSettings("auto", "auto", 512 * 1024**2, None)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("SAM2_BLOCK_DEVICE", "cpu", "device", "cpu"),
        ("SAM2_BLOCK_DEVICE", " CUDA:1 ", "device", "cuda:1"),
        ("SAM2_BLOCK_DEVICE", "mps", "device", "mps"),
        ("SAM2_BLOCK_PRECISION", "BF16", "precision", "bf16"),
        ("SAM2_BLOCK_PRECISION", "fp32", "precision", "fp32"),
        ("SAM2_BLOCK_CACHE_BYTES", "0", "cache_bytes", 0),
        ("SAM2_BLOCK_CACHE_BYTES", " 1048576 ", "cache_bytes", 1048576),
        ("SAM2_BLOCK_CHECKPOINT_DIR", "/weights", "checkpoint_dir", Path("/weights")),
        ("SAM2_BLOCK_CHECKPOINT_DIR", "~/weights", "checkpoint_dir", Path.home() / "weights"),
        ("SAM2_BLOCK_MODEL_BYTES", "0", "model_bytes", 0),
        # In the order of `NAMES`, each once, so that equal settings are equal.
        (
            "SAM2_BLOCK_ALLOWED_VERSIONS",
            " hiera_tiny,demo ,,demo",
            "allowed_versions",
            ("demo", "hiera_tiny"),
        ),
        ("SAM2_BLOCK_ALLOWED_VERSIONS", " , ", "allowed_versions", NAMES),
        ("SAM2_BLOCK_API_URL", " HTTP://Localhost:9001/ ", "api_url", "http://localhost:9001"),
        ("SAM2_BLOCK_API_KEY", " k3y\n", "api_key", "k3y"),
        ("ROBOFLOW_API_KEY", "k3y", "api_key", "k3y"),
        ("SAM2_BLOCK_ALLOWED_API_URLS", "http://a:1", "allowed_api_urls", ("http://a:1",)),
        (
            "SAM2_BLOCK_ALLOWED_API_URLS",
            " https://B.example:443/x/ ,, http://a ,",
            "allowed_api_urls",
            ("https://b.example/x", "http://a"),
        ),
        ("SAM2_BLOCK_ALLOWED_API_URLS", " , ", "allowed_api_urls", ()),
        ("SAM2_BLOCK_MAX_PROMPTS", "1", "max_prompts", 1),
        ("SAM2_BLOCK_MAX_POINTS", "2000", "max_points", 2000),
        ("SAM2_BLOCK_MAX_CONCURRENT_REQUESTS", "1", "max_concurrent_requests", 1),
        ("SAM2_BLOCK_MAX_CONCURRENT_REQUESTS", "256", "max_concurrent_requests", 256),
        ("SAM2_BLOCK_DEADLINE_S", "86400", "deadline_s", 86400.0),
        ("SAM2_BLOCK_DEADLINE_S", " 2.5 ", "deadline_s", 2.5),
        ("SAM2_BLOCK_DEADLINE_S", "1e-3", "deadline_s", 0.001),
        ("SAM2_BLOCK_UPLOAD_FORMAT", " JPEG", "upload_format", "jpeg"),
        ("SAM2_BLOCK_UPLOAD_FORMAT", "png", "upload_format", "png"),
        *(
            ("SAM2_BLOCK_SWAP_CHANNELS", text, "swap_channels", text.strip().lower() in ON)
            for text in ("true", "1", "yes", "on", " TRUE ", "false", "0", "no", "off", "Off")
        ),
        # Blank counts as unset: `docker run -e NAME=` and empty lines of an env file.
        ("SAM2_BLOCK_DEVICE", "  ", "device", "auto"),
        ("SAM2_BLOCK_CACHE_BYTES", "", "cache_bytes", 512 * 1024**2),
        ("SAM2_BLOCK_CHECKPOINT_DIR", "", "checkpoint_dir", None),
        *(
            (f"SAM2_BLOCK_{name.upper()}", " \t", name, Settings().value_of(name))
            for name in SETTING_NAMES
        ),
    ],
)
def test_variable_sets_its_setting_and_no_other(
    variable: str, text: str, name: str, value: Any
) -> None:
    assert Settings.from_environment({variable: text}) == Settings().override(**{name: value})


def test_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM2_BLOCK_CACHE_BYTES", "77")
    assert Settings.from_environment().local.cache_bytes == 77


VERSION_NAMES = f"comma-separated names of versions, of {', '.join(NAMES)}"
SECONDS = "a number of seconds above 0, at most 86400"


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("DEVICE", "gpu", "auto, cpu, cuda, cuda:N or mps"),
        ("DEVICE", "cuda:x", "auto, cpu, cuda, cuda:N or mps"),
        ("DEVICE", "cuda:-1", "auto, cpu, cuda, cuda:N or mps"),
        ("PRECISION", "half", "one of auto, fp32, bf16, fp16"),
        ("CACHE_BYTES", "512MiB", "a whole number of bytes, 0 or more"),
        ("CACHE_BYTES", "-1", "a whole number of bytes, 0 or more"),
        ("CACHE_BYTES", "1.5", "a whole number of bytes, 0 or more"),
        ("MAX_PROMPTS", "0", "a whole number of prompts, 1 or more"),
        ("MAX_POINTS", "many", "a whole number of points, 1 or more"),
        ("MODEL_BYTES", "1 GiB", "a whole number of bytes, 0 or more"),
        ("ALLOWED_VERSIONS", "demo;hiera_tiny", VERSION_NAMES),
        ("ALLOWED_VERSIONS", "demo,Hiera_Tiny", VERSION_NAMES),
        ("MAX_CONCURRENT_REQUESTS", "0", "a whole number of requests, 1 to 256"),
        ("MAX_CONCURRENT_REQUESTS", "257", "a whole number of requests, 1 to 256"),
        ("DEADLINE_S", "0", SECONDS),
        ("DEADLINE_S", "-1", SECONDS),
        ("DEADLINE_S", "1 min", SECONDS),
        ("DEADLINE_S", "1,5", SECONDS),
        ("DEADLINE_S", "nan", SECONDS),
        ("DEADLINE_S", "inf", SECONDS),
        # Locks and sockets cannot wait so long, and fail with an error of their own.
        ("DEADLINE_S", "86401", SECONDS),
        ("DEADLINE_S", "1e300", SECONDS),
        ("UPLOAD_FORMAT", "webp", "one of auto, png, jpeg"),
        ("SWAP_CHANNELS", "maybe", "true or false"),
        ("SWAP_CHANNELS", "2", "true or false"),
    ],
)
def test_bad_variable_is_named(variable: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({f"SAM2_BLOCK_{variable}": text})
    assert str(caught.value) == f"SAM2_BLOCK_{variable}: expected {expected}; got {text!r}."


@pytest.mark.parametrize("value", ["~nobody-of-this-name/w", "a\0b", 7, b"/w", ["/w"]])
def test_a_folder_that_is_no_path_is_refused(value: Any) -> None:
    with pytest.raises(SettingsError, match=r"^SAM2_BLOCK_CHECKPOINT_DIR: expected the path of"):
        Settings().override(checkpoint_dir=value)


def test_a_home_directory_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    with pytest.raises(SettingsError, match=r"^SAM2_BLOCK_CHECKPOINT_DIR: expected"):
        Settings.from_environment({"SAM2_BLOCK_CHECKPOINT_DIR": "~/weights"})


@pytest.mark.parametrize("device", ["cuda:", "auto:1"])
def test_half_written_device_is_refused(device: str) -> None:
    with pytest.raises(SettingsError, match=r"^SAM2_BLOCK_DEVICE: expected "):
        Settings.from_environment({"SAM2_BLOCK_DEVICE": device})


def test_override_replaces_some_and_parses_text() -> None:
    settings = Settings(LocalSettings(device="cpu", precision="fp32"))
    changed = settings.override(cache_bytes="12", checkpoint_dir="/w")
    assert changed == Settings(LocalSettings("cpu", "fp32", 12, Path("/w")))
    assert settings == Settings(LocalSettings(device="cpu", precision="fp32"))
    assert changed.override(checkpoint_dir=None).local.checkpoint_dir is None


def test_override_of_what_is_no_setting() -> None:
    with pytest.raises(SettingsError, match=r"^no such setting: cache_mb, gpu\.$"):
        Settings().override(gpu=1, cache_mb=2, device="cpu")


def test_equal_settings_share_what_is_keyed_by_them() -> None:
    assert hash(Settings(LocalSettings(device="cpu"))) == hash(Settings().override(device=" CPU "))


LOCAL_URL = "http://127.0.0.1:9001"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, HOSTED_URL),
        ({"WORKFLOWS_REMOTE_API_TARGET": "hosted"}, HOSTED_URL),
        ({"WORKFLOWS_REMOTE_API_TARGET": " HOSTED "}, HOSTED_URL),
        # Only said to be there, not to be used.
        ({"LOCAL_INFERENCE_API_URL": "http://a:1"}, HOSTED_URL),
        ({"LOCAL_INFERENCE_API_URL": "no url"}, HOSTED_URL),
        ({"WORKFLOWS_REMOTE_API_TARGET": "self-hosted"}, LOCAL_URL),
        ({"WORKFLOWS_REMOTE_API_TARGET": "self-hosted", "LOCAL_INFERENCE_API_URL": " "}, LOCAL_URL),
        (
            {"WORKFLOWS_REMOTE_API_TARGET": "x", "LOCAL_INFERENCE_API_URL": " http://A:1/ "},
            "http://a:1",
        ),
        # This package's own comes first.
        (
            {
                "WORKFLOWS_REMOTE_API_TARGET": "self-hosted",
                "LOCAL_INFERENCE_API_URL": "no url",
                "SAM2_BLOCK_API_URL": "https://own.example/",
            },
            "https://own.example",
        ),
    ],
)
def test_server_is_that_of_the_engine_unless_told(environment: dict[str, str], url: str) -> None:
    assert Settings.from_environment(environment).access.api_url == url


@pytest.mark.parametrize(
    ("own", "engines", "key"),
    [
        ("own", "engines", "own"),
        (" ", "engines", "engines"),
        ("", " ", None),
        ("own", "", "own"),
    ],
)
def test_own_key_comes_before_that_of_the_engine(own: str, engines: str, key: str | None) -> None:
    environment = {"SAM2_BLOCK_API_KEY": own, "ROBOFLOW_API_KEY": engines}
    assert Settings.from_environment(environment).access.api_key == key


@pytest.mark.parametrize(
    "text",
    [
        "https://user:pa55@a.example",
        "https://a.example?api_key=pa55",
        "https://a.example#pa55",
        "http://a.example:pa55",
        "https://user:pa55@a.example\u2100",
        "pa55",
    ],
)
@pytest.mark.parametrize(
    ("variable", "others"),
    [
        ("SAM2_BLOCK_API_URL", {}),
        ("SAM2_BLOCK_ALLOWED_API_URLS", {}),
        ("LOCAL_INFERENCE_API_URL", {"WORKFLOWS_REMOTE_API_TARGET": "self-hosted"}),
    ],
)
def test_url_with_a_password_is_not_shown(variable: str, others: dict[str, str], text: str) -> None:
    value = f"http://first,{text}" if variable.endswith("URLS") else text
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({variable: value, **others})
    assert str(caught.value).startswith(f"{variable}: expected http(s)://host[:port][/path]")
    assert "pa55" not in "".join(traceback.format_exception(caught.value))
    links, error = [], caught.value
    while error is not None:
        links.append(repr(error))
        error = error.__cause__ or error.__context__
    assert "pa55" not in "".join(links)


def test_message_of_a_bad_url() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings().override(api_url="https://user:pa55@a.example")
    assert str(caught.value) == (
        "SAM2_BLOCK_API_URL: expected http(s)://host[:port][/path] and nothing more; got"
        " https://a.example with a user, query, fragment or unusual path."
    )


def test_key_is_in_no_repr() -> None:
    settings = Settings.from_environment({"ROBOFLOW_API_KEY": "k3y-of-the-operator"})
    assert settings.access.api_key == "k3y-of-the-operator"
    for text in (repr(settings), str(settings), f"{settings}", repr({settings: settings})):
        assert "k3y" not in text


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("allowed_api_urls", ["http://A:1/", "http://b"], ("http://a:1", "http://b")),
        ("allowed_api_urls", None, ()),
        ("allowed_api_urls", (), ()),
        ("allowed_versions", ["demo"], ("demo",)),
        ("allowed_versions", None, NAMES),
        ("api_key", None, None),
        ("deadline_s", 5, 5.0),
        ("max_prompts", 2, 2),
        ("max_cores", "90", 90),
        ("swap_channels", True, True),
        ("swap_channels", False, False),
    ],
)
def test_override_takes_values_of_python(name: str, value: Any, read: Any) -> None:
    assert Settings().override(**{name: value}).value_of(name) == read


# --- variables that no setting reads ---


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[dict[str, str]], list[str]]:
    """Return what is logged where settings are read from an environment."""

    def read(environment: dict[str, str]) -> list[str]:
        caplog.clear()
        Settings.from_environment(environment)
        return caplog.messages

    forget_warnings()
    return read


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("SAM2_BLOCK_DEVCIE", "; did you mean SAM2_BLOCK_DEVICE?"),
        ("SAM2_BLOCK_CACHEBYTES", "; did you mean SAM2_BLOCK_CACHE_BYTES?"),
        ("SAM2_BLOCK_MAXENCODE", "; did you mean SAM2_BLOCK_MAX_ENCODES?"),
        ("SAM2_BLOCK_APIKEY", "; did you mean SAM2_BLOCK_API_KEY?"),
        ("SAM2_BLOCK_MAX_PROMPT", "; did you mean SAM2_BLOCK_MAX_PROMPTS?"),
        ("SAM2_BLOCK_MAX_ATTEMPTS", "; it was removed, and is a constant now."),
        ("sam2_block_device", "; did you mean SAM2_BLOCK_DEVICE?"),
        ("SAM2_BLOCK_QQQ", "; docs/settings.md lists the settings."),
        ("SAM2_BLOCK_", "; docs/settings.md lists the settings."),
    ],
)
def test_unknown_variable_is_named_and_its_value_is_not(
    variable: str, hint: str, warnings: Callable[[dict[str, str]], list[str]]
) -> None:
    (message,) = warnings({variable: "k3y-of-the-operator", "SAM2_BLOCK_DEVICE": "cpu"})
    assert message.startswith(f"{variable} is not a setting and has no effect{hint}")
    assert "k3y" not in message


def test_unknown_variable_is_warned_of_once(
    warnings: Callable[[dict[str, str]], list[str]],
) -> None:
    assert len(warnings({"SAM2_BLOCK_A": "1", "SAM2_BLOCK_B": "2"})) == 2
    assert warnings({"SAM2_BLOCK_A": "1", "SAM2_BLOCK_B": "2"}) == []
    assert len(warnings({"SAM2_BLOCK_A": "1", "SAM2_BLOCK_C": "2"})) == 1


def test_no_setting_and_no_other_variable_is_warned_of(
    warnings: Callable[[dict[str, str]], list[str]],
) -> None:
    own = {f"SAM2_BLOCK_{name.upper()}": "" for name in SETTING_NAMES}
    assert warnings({**own, "SAM2_DEVICE": "x", "ROBOFLOW_API_KEY": "x", "PATH": "x"}) == []
