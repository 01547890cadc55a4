"""Proxies of the environment, in all the ways that tools write them."""

from __future__ import annotations

import logging
import socket
import sys

import httpx
import pytest

from sam2_block.backends.remote.http.client import HttpClient
from sam2_block.backends.remote.http.proxies import ProxyRules
from sam2_block.errors import RemoteConnectionError, RemoteError, SettingsError
from sam2_block.settings import RemoteSettings
from tests.unit.remote.raw_server import client, post, read_request, response, serving

PASSWORD = "pa55w0rd"
PROXY = {"http": "http://proxy:3128", "https": "http://proxy:3128"}

# NO_PROXY -> servers that are reached without a proxy, and servers that are not.
BYPASSES = {
    "": ([], ["http://localhost"]),
    "*": (["http://localhost", "https://any.example", "http://[::1]:9001"], []),
    "a.example , *": (["http://b.example"], []),
    "localhost,127.0.0.1": (
        ["http://localhost:9001", "http://127.0.0.1:9001"],
        ["http://127.0.0.2", "http://localhost.example", "http://[::1]"],
    ),
    "localhost 127.0.0.1\t::1\n": (["http://127.0.0.1", "http://[::1]"], ["http://x"]),
    "::1": (["http://[::1]", "http://[::1]:9001", "http://[0:0::1]"], ["http://[::2]"]),
    "[::1]": (["http://[::1]", "http://[::1]:9001"], ["http://[::2]"]),
    "[::1]:9001": (["http://[::1]:9001"], ["http://[::1]:9002", "http://[::1]"]),
    "127.0.0.1:9001": (["http://127.0.0.1:9001"], ["http://127.0.0.1:9002"]),
    "10.0.0.0/8": (["http://10.1.2.3"], ["http://11.0.0.1", "http://name"]),
    "10.1.2.3/8": (["http://10.9.9.9"], ["http://11.0.0.1"]),
    "fd07:b51a:cc66:f0::/64": (["http://[fd07:b51a:cc66:f0::5]:80"], ["http://[fd07::5]"]),
    "fe80::/10": (["http://[fe80::1]"], ["http://[fd00::1]"]),
    "x.example": (
        ["http://x.example", "https://a.x.example", "https://X.example:8443"],
        ["http://ax.example", "http://x.example.org"],
    ),
    ".x.example": (["https://a.x.example"], ["http://x.example", "http://ax.example"]),
    "*.x.example": (["https://a.x.example"], ["http://x.example"]),
    "x.example:8443": (["https://x.example:8443"], ["https://x.example"]),
    "x.example:443": (["https://x.example"], ["http://x.example"]),
    "https://x.example": (["https://x.example"], ["http://x.example"]),
    "http://x.example:80/": (["http://x.example"], ["https://x.example"]),
}


@pytest.mark.parametrize("no_proxy", BYPASSES)
def test_servers_without_a_proxy(no_proxy: str, caplog: pytest.LogCaptureFixture) -> None:
    straight, by_proxy = BYPASSES[no_proxy]
    rules = ProxyRules({**PROXY, "no": no_proxy})
    assert [url for url in straight if rules.proxy_for(httpx.URL(url))] == []
    assert [url for url in by_proxy if not rules.proxy_for(httpx.URL(url))] == []
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ("[::1", "'[::1'"),
        ("[localhost]", "'[localhost]'"),
        ("[1.2.3]", "'[1.2.3]'"),
        ("host:port", "'host:port'"),
        ("host:99999", "'host:99999'"),
        ("host:0", "'host:0'"),
        ("10.0.0.0/99", "'10.0.0.0/99'"),
        ("fe80::/200", "'fe80::/200'"),
        ("http://", "'http://'"),
        ("ftp://host", "'ftp://host'"),
        ("<local>", "'<local>'"),
        ("a;b", "'a;b'"),
        ("\u00e4.example", "'\u00e4.example'"),
        (f"http://user:{PASSWORD}@host", "(hidden)"),
        ("x" * 200 + "!", repr("x" * 80)),
    ],
)
def test_entry_that_is_ignored_with_a_warning(
    entry: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    rules = ProxyRules({**PROXY, "no": f"localhost,{entry},127.0.0.1"})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("NO_PROXY: ignored an entry that names no ")
    assert record.getMessage().endswith(f": {shown}")
    # The others hold.
    assert rules.proxy_for(httpx.URL("http://localhost")) is None
    assert rules.proxy_for(httpx.URL("http://127.0.0.1")) is None
    assert rules.proxy_for(httpx.URL("http://other")) is not None


@pytest.mark.parametrize("scheme", ["http", "https", "all"])
@pytest.mark.parametrize(
    "text",
    [
        "ftp://proxy",
        f"socks4://user:{PASSWORD}@proxy",
        f"http://user:{PASSWORD}@proxy:port",
        f"http://user:{PASSWORD}@proxy:99999",
        f"http://user:{PASSWORD}@",
        "http://",
        "://proxy",
        "http://[::1",
        "http://a\nb",
        "http://xn--0",
        # A password with a character that ends the host: its first part would be the port.
        f"http://user:12/{PASSWORD}@proxy:3128",
        f"http://user:12?{PASSWORD}@proxy:3128",
        f"http://user:12#{PASSWORD}@proxy:3128",
        f"socks5://user:12/{PASSWORD}@proxy",
        "http://proxy:3128/proxy.pac",
    ],
)
def test_proxy_that_cannot_be_used(scheme: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ProxyRules({scheme: text})
    assert str(caught.value) == (
        f"{scheme.upper()}_PROXY: expected"
        " [http|https|socks5|socks5h://][user:password@]host[:port]; got something else."
        " In a password, `/`, `?`, `#` and `@` are %2F, %3F, %23 and %40."
    )
    assert caught.value.__context__ is None or PASSWORD not in str(caught.value.__context__)


@pytest.mark.parametrize(
    "text", [f"socks5://user:{PASSWORD * 32}@proxy", f"socks5h://{'u' * 256}:{PASSWORD}@proxy"]
)
def test_socks_has_short_credentials_only(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^ALL_PROXY: .* at most 255 bytes") as caught:
        ProxyRules({"all": text})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_blank_is_unset(blank: str, caplog: pytest.LogCaptureFixture) -> None:
    rules = ProxyRules({"http": blank, "https": blank, "all": blank, "no": f" ,{blank}, ,"})
    assert rules.proxies == set()
    assert rules.proxy_for(httpx.URL("http://x")) is None
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("proxy", "http://proxy"),
        ("proxy:3128", "http://proxy:3128"),
        ("[::1]:3128", "http://[::1]:3128"),
        (" https://proxy:8443 ", "https://proxy:8443"),
        (f"http://user:{PASSWORD}@proxy:3128", "http://proxy:3128"),
        (f"user:{PASSWORD}@proxy:3128", "http://proxy:3128"),
    ],
)
def test_proxy_in_every_spelling(text: str, url: str) -> None:
    proxy = ProxyRules({"all": text}).proxy_for(httpx.URL("https://x"))
    assert str(proxy.url).rstrip("/") == url
    assert proxy.credentials == ((b"user", PASSWORD.encode()) if PASSWORD in text else None)
    assert PASSWORD not in repr(proxy)


def test_proxy_of_the_scheme_comes_first() -> None:
    rules = ProxyRules({"http": "a", "all": "b"})
    assert rules.proxy_for(httpx.URL("http://x")).url.host == "a"
    assert rules.proxy_for(httpx.URL("https://x")).url.host == "b"


def test_request_by_a_proxy_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def proxy(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            connection.sendall(response("by the proxy"))

    def server(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            connection.sendall(response("straight"))

    with serving(proxy) as proxy_url, serving(server) as url:
        monkeypatch.setenv("HTTP_PROXY", proxy_url)
        with client() as http:
            assert post(http, url) == "by the proxy"
            assert post(http, "http://not-a-name.test") == "by the proxy"
        monkeypatch.setenv("NO_PROXY", "[::1],127.0.0.0/8")
        with client() as http:
            assert post(http, url) == "straight"
            assert post(http, "http://not-a-name.test") == "by the proxy"


def test_password_of_a_proxy_is_in_no_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{port}")
    with client() as http, pytest.raises(RemoteConnectionError) as caught:
        post(http, "http://not-a-name.test")
    assert PASSWORD not in str(caught.value) + caplog.text


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_repeats_its_password(
    scheme: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = PASSWORD.encode()
    head = f"HTTP/1.1 407 {PASSWORD}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def refuse(connection: socket.socket, number: int) -> None:
        connection.recv(65536)
        connection.sendall(head + body)
        connection.recv(65536)

    with serving(refuse) as proxy_url:
        url = proxy_url.replace("//", f"//user:{PASSWORD}@")
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", url)
        with (
            client() as http,
            pytest.raises(RemoteError, match=r"proxy.* Check HTTP_PROXY") as caught,
        ):
            post(http, f"{scheme}://not-a-name.test")
    assert "407" in str(caught.value)
    assert not caught.value.transient
    assert PASSWORD not in str(caught.value) + caplog.text


def test_variables_of_the_process_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "ftp://x")
    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY: "):
        HttpClient(RemoteSettings())


@pytest.mark.skipif(sys.platform != "linux", reason="the file is read by OpenSSL's own rules")
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE"])
def test_certificates_that_cannot_be_loaded(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/not/there")
    with pytest.raises(SettingsError, match="check SSL_CERT_FILE and SSL_CERT_DIR"):
        HttpClient(RemoteSettings())
