from __future__ import annotations

import traceback
from typing import Any

import pytest

from sam2_block.backends.remote.endpoints import Endpoint, choose_endpoint
from sam2_block.backends.select import choose_backend
from sam2_block.errors import EndpointNotAllowedError, OptionError
from sam2_block.settings import HOSTED_URL, AccessSettings, Settings

OPERATORS_KEY, STEPS_KEY = "operators-key", "steps-key"
OWN_URL = "http://sam2.internal:9001/v1"
LISTED = ("http://10.0.0.7:9001", "https://gpu.example/sam")
SETTINGS = (
    Settings().override(api_url=OWN_URL, api_key=OPERATORS_KEY, allowed_api_urls=LISTED).access
)


@pytest.mark.parametrize("api_url", [None, "", OWN_URL, f" {OWN_URL.upper()[:-2]}v1// "])
@pytest.mark.parametrize("api_key", [None, "", "  \n"])
def test_operators_server_gets_the_operators_key(api_url: str | None, api_key: str | None) -> None:
    endpoint = choose_endpoint(SETTINGS, api_url, api_key)
    assert (endpoint.url, endpoint.api_key) == (OWN_URL, OPERATORS_KEY)
    assert endpoint.key_source == "the operator's key, SAM2_BLOCK_API_KEY or ROBOFLOW_API_KEY"


@pytest.mark.parametrize("api_url", [None, OWN_URL, LISTED[0], HOSTED_URL])
def test_key_of_the_step_comes_first(api_url: str | None) -> None:
    endpoint = choose_endpoint(SETTINGS, api_url, f" {STEPS_KEY}\n")
    assert (endpoint.url, endpoint.api_key) == (api_url or OWN_URL, STEPS_KEY)
    assert endpoint.key_source == "the api_key that was given"


ALLOWED = [
    # Listed, in any spelling.
    ("http://10.0.0.7:9001", LISTED[0]),
    ("HTTPS://GPU.example:443/sam/", LISTED[1]),
    # Roboflow's, over https.
    (HOSTED_URL, HOSTED_URL),
    ("https://roboflow.com", "https://roboflow.com"),
    ("https://a.b.roboflow.cloud:8443/x", "https://a.b.roboflow.cloud:8443/x"),
    ("HTTPS://DETECT.Roboflow.Com/", "https://detect.roboflow.com"),
]


@pytest.mark.parametrize(("api_url", "url"), ALLOWED)
def test_operators_key_goes_to_no_other_server(api_url: str, url: str) -> None:
    endpoint = choose_endpoint(SETTINGS, api_url, None)
    assert (endpoint.url, endpoint.api_key) == (url, None)
    assert endpoint.key_source.startswith("no key was sent: ")


@pytest.mark.parametrize(
    "api_url",
    [
        # The operator's or a listed one, but for the scheme, the port or the path.
        "https://sam2.internal:9001/v1",
        "http://sam2.internal:9002/v1",
        "http://sam2.internal/v1",
        "http://sam2.internal:9001",
        "http://sam2.internal:9001/v1/x",
        "http://sam2.internal:9001/V1",
        "http://sub.sam2.internal:9001/v1",
        "https://10.0.0.7:9001",
        "https://gpu.example",
        # Roboflow's name without Roboflow's certificate.
        "http://serverless.roboflow.com",
        "http://roboflow.com:443",
        # Lookalikes.
        "https://evilroboflow.com",
        "https://evil-roboflow.cloud",
        "https://roboflow.com.evil.org",
        "https://roboflow.cloud.evil.org",
        "https://roboflow.comx",
        "https://roboflow",
        "https://com",
        "https://roboflow.co",
        "https://xn--rboflow-b1a.com",
        # Machines that only this one reaches: loopback, and a cloud's metadata.
        "http://localhost:9001",
        "http://127.0.0.1",
        "https://[::1]",
        "http://169.254.169.254/latest",
    ],
)
@pytest.mark.parametrize("api_key", [None, STEPS_KEY])
def test_server_that_is_not_allowed(api_url: str, api_key: str | None) -> None:
    with pytest.raises(EndpointNotAllowedError) as caught:
        choose_endpoint(SETTINGS, api_url, api_key)
    assert str(caught.value) == (
        f"api_url: the operator of this server does not allow {api_url}. Expected the"
        " operator's own server, a Roboflow host over https, or a server that the operator lists in"
        " SAM2_BLOCK_ALLOWED_API_URLS."
    )


@pytest.mark.parametrize(
    "api_url",
    [
        "https://roboflow.com@evil.org",
        "https://user:pa55@serverless.roboflow.com",
        "https://serverless.roboflow.com?api_key=pa55",
        "https://serverless.roboflow.com#pa55",
        "https://evil.org\\@roboflow.com",
        "https://evil.org\\.roboflow.com",
        "https://evil.org%2f.roboflow.com",
        "https://evil.org%00.roboflow.com",
        "https://evil.org/.roboflow.com",
        "https://evil.org?.roboflow.com",
        "https://evil.org#.roboflow.com",
        "https://robo\tflow.com",
        "https://robo\nflow.com",
        "https://roboflow\u3002com",
        "https://\u24e1oboflow.com",
        "https://roboflow.com.",
        "https://roboflow.com:pa55",
        "https://evil.org[roboflow.com]",
        f"{OWN_URL}/../admin",
        f"{OWN_URL}/%2e%2e/admin",
        "file:///etc/passwd",
        "unix:///var/run/docker.sock",
        " ",
        "pa55",
    ],
)
def test_what_is_no_url_of_a_server(api_url: str) -> None:
    with pytest.raises(EndpointNotAllowedError, match=r"^api_url: ") as caught:
        choose_endpoint(SETTINGS, api_url, STEPS_KEY)
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(secret in shown for secret in ("pa55", STEPS_KEY, OPERATORS_KEY))


@pytest.mark.parametrize(
    "value", [5, ["https://roboflow.com"], {"url": 1}, b"https://roboflow.com"]
)
def test_values_that_are_no_text(value: Any) -> None:
    name = type(value).__name__
    with pytest.raises(EndpointNotAllowedError) as refused:
        choose_endpoint(SETTINGS, value, None)
    assert str(refused.value) == f"api_url: expected text; got {name}."
    with pytest.raises(OptionError) as caught:
        choose_endpoint(SETTINGS, None, value)
    assert str(caught.value) == f"api_key: expected text; got {name}."


def test_operator_without_a_key() -> None:
    endpoint = choose_endpoint(AccessSettings(), None, None)
    assert endpoint == Endpoint(HOSTED_URL)
    assert endpoint.key_source == "no key was sent: set ROBOFLOW_API_KEY, or give an api_key"


def test_key_is_in_no_repr() -> None:
    endpoint = choose_endpoint(SETTINGS, None, None)
    assert endpoint.api_key == OPERATORS_KEY
    for text in (repr(endpoint), str(endpoint), f"{endpoint}", repr([endpoint])):
        assert OPERATORS_KEY not in text


@pytest.mark.parametrize(
    ("api_key", "text", "struck"),
    [
        ("k3yk3yk3y", "the key k3yk3yk3y, andk3yk3yk3y", "the key ***, and***"),
        ("k3yk3y+k3y", "?api_key=k3yk3y%2Bk3y&x=1", "?api_key=***&x=1"),
        ("k3yk3yk3y", "no secret", "no secret"),
        # Short ones may be ordinary words, and are struck out where they stand as a value.
        ("mask", "no mask, data/mask/a.png: mask", "no mask, data/mask/a.png: mask"),
        ("mask", "api_key=\"mask\" or 'mask'", "api_key=\"***\" or '***'"),
        ("mask", "?api_key=mask&x=mask", "?api_key=***&x=***"),
        ("a", "a format is a format", "a format is a format"),
        ("1234", "1234 bytes, =12345, '1234'", "1234 bytes, =12345, '***'"),
        ("a.c", "'abc' 'a.c'", "'abc' '***'"),
        (None, "the key None", "the key None"),
        ("", "nothing", "nothing"),
    ],
)
def test_key_is_struck_out(api_key: str | None, text: str, struck: str) -> None:
    assert Endpoint("http://x", api_key).without_key(text) == struck


def test_backend_of_a_server_that_is_not_allowed() -> None:
    with pytest.raises(EndpointNotAllowedError):
        choose_backend(Settings(access=SETTINGS), "remote", "https://evilroboflow.com", STEPS_KEY)
