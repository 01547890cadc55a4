from __future__ import annotations

import random
import traceback

import httpx
import pytest

from sam2_block.settings.urls import normalise_url

GARBLED = "expected http(s)://host[:port][/path]; got something else."
NO_HOST = "expected http(s)://host[:port][/path] and nothing more; got something else."


def with_more(scheme_and_host: str) -> str:
    more = (
        " with a user, query, fragment or unusual path"
        if scheme_and_host.startswith("http")
        else " with another scheme"
    )
    return f"expected http(s)://host[:port][/path] and nothing more; got {scheme_and_host}{more}."


SAME = [
    ("https://serverless.roboflow.com", "https://serverless.roboflow.com"),
    # Spelling that means nothing: case, blanks around, slashes at the end, the scheme's own port.
    ("HTTPS://Serverless.ROBOFLOW.com/", "https://serverless.roboflow.com"),
    (" \thttp://localhost:9001//\n", "http://localhost:9001"),
    ("https://a.example:443", "https://a.example"),
    ("http://a.example:80/", "http://a.example"),
    ("http://a.example:", "http://a.example"),
    ("http://a.example:0080", "http://a.example"),
    # The other scheme's port is a port of its own.
    ("https://a.example:80", "https://a.example:80"),
    ("http://a.example:443", "http://a.example:443"),
    ("http://a.example/Sam/v1.2_x-y~z/", "http://a.example/Sam/v1.2_x-y~z"),
    # Names of containers and of Kubernetes services.
    ("http://sam_2:9001", "http://sam_2:9001"),
    ("http://sam2.team-a.svc.cluster.local:9001", "http://sam2.team-a.svc.cluster.local:9001"),
    ("http://1password.example", "http://1password.example"),
    ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
    ("http://[::1]:9001/x", "http://[::1]:9001/x"),
    # One address has one form.
    ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
    ("http://[2001:DB8::0A]", "http://[2001:db8::a]"),
    ("http://xn--bcher-kva.example", "http://xn--bcher-kva.example"),
    ("http://" + "a" * 63 + ".example", "http://" + "a" * 63 + ".example"),
]


@pytest.mark.parametrize(("text", "url"), SAME)
def test_url_has_one_form(text: str, url: str) -> None:
    assert normalise_url(text) == url
    assert normalise_url(url) == url


REFUSED = [
    ("", NO_HOST),
    ("localhost:9001", NO_HOST),
    ("//roboflow.com", NO_HOST),
    ("https:roboflow.com", NO_HOST),
    ("https:///roboflow.com", NO_HOST),
    ("https://:443", NO_HOST),
    ("ftp://a.example", with_more("ftp://a.example")),
    ("file://a.example/etc/passwd", with_more("file://a.example")),
    # Where a key or a password may be.
    ("https://user:pa55@a.example", with_more("https://a.example")),
    ("https://pa55@a.example", with_more("https://a.example")),
    ("https://@a.example", with_more("https://a.example")),
    ("https://a.example/?api_key=pa55", with_more("https://a.example")),
    ("https://a.example?", with_more("https://a.example")),
    ("https://a.example#pa55", with_more("https://a.example")),
    ("https://a.example/#", with_more("https://a.example")),
    ("http://a.example:pa55", GARBLED),
    ("http://user:pa55:x@[::1", GARBLED),
    ("http://user:pa55@a.example\u2100x", GARBLED),
    # A host that the reader takes for another than the parser.
    ("https://roboflow.com@evil.org", with_more("https://evil.org")),
    ("https://roboflow.com:443@evil.org", with_more("https://evil.org")),
    ("https://evil.org\\@roboflow.com", with_more("https://roboflow.com")),
    ("https://evil.org\\.roboflow.com", NO_HOST),
    ("https://roboflow.com\\.evil.org", NO_HOST),
    ("https:\\\\roboflow.com", NO_HOST),
    ("https://roboflow.com%2eevil.org", NO_HOST),
    ("https://evil.org%00.roboflow.com", NO_HOST),
    ("https://evil.org%40roboflow.com", NO_HOST),
    ("https://evil.org .roboflow.com", NO_HOST),
    # What `urlsplit` drops without a word.
    ("https://robo\tflow.com", GARBLED),
    ("https://robo\nflow.com", GARBLED),
    ("https://a.example/x\r\nHost: evil.org", GARBLED),
    ("\x00https://a.example", GARBLED),
    ("https://a.example/\x7f", GARBLED),
    # Unicode that some read as ASCII: full stops, wide letters, the Kelvin sign, dotless i.
    ("https://roboflow\u3002com", GARBLED),
    ("https://roboflow\uff0ecom", GARBLED),
    ("https://\uff52oboflow.com", GARBLED),
    ("https://\u212aube.example", GARBLED),
    ("https://b\u00fccher.example", GARBLED),
    ("https://robo\u200bflow.com", GARBLED),
    ("https://a.example/\ud800", GARBLED),
    # Dots and hyphens at the wrong place; labels and names that are too long.
    ("https://roboflow.com.", NO_HOST),
    ("https://.roboflow.com", NO_HOST),
    ("https://roboflow..com", NO_HOST),
    ("https://-roboflow.com", NO_HOST),
    ("https://roboflow-.com", NO_HOST),
    ("https://" + "a" * 64 + ".roboflow.com", NO_HOST),
    ("https://" + "a." * 127 + "com", NO_HOST),
    # Addresses that only some resolvers read.
    ("http://2130706433", NO_HOST),
    ("http://0x7f000001", NO_HOST),
    ("http://127.1", NO_HOST),
    ("http://127.0.0.0x1", NO_HOST),
    ("http://0177.0.0.1", NO_HOST),
    ("http://1.2.3.256", NO_HOST),
    ("http://[fe80::1%25eth0]", NO_HOST),
    ("http://[fe80::1%eth0]", NO_HOST),
    ("http://[127.0.0.1]", GARBLED),
    ("http://[::1", GARBLED),
    ("http://::1", GARBLED),
    ("http://a.example:65536", GARBLED),
    ("http://a.example:-1", GARBLED),
    # Paths that lead elsewhere.
    ("http://a.example/../x", with_more("http://a.example")),
    ("http://a.example/x/..", with_more("http://a.example")),
    ("http://a.example/./x", with_more("http://a.example")),
    ("http://a.example/%2e%2e/x", with_more("http://a.example")),
    ("http://a.example/x//y", with_more("http://a.example")),
    ("http://a.example//evil.org", with_more("http://a.example")),
    ("http://a.example/x;y", with_more("http://a.example")),
    ("http://a.example/x y", with_more("http://a.example")),
    ("http://a.example/\\evil.org", with_more("http://a.example")),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_anything_else_is_refused_and_not_shown(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^expected http") as caught:
        normalise_url(text)
    assert str(caught.value) == message
    assert "pa55" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", ["https://evil[::1]", "https://[::1]evil:80"])
def test_an_address_with_more_around_its_brackets_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected http") as caught:
        normalise_url(text)
    # Releases of Python differ in whether they can split it.
    assert str(caught.value) in (GARBLED, with_more("https://::1"))


def read_by_httpx(url: str) -> tuple[str, str, int | None, str, bytes]:
    """Return what is connected to: `raw_host` is the name that goes to the resolver."""
    parsed = httpx.URL(url + "/sam2/x")
    return (
        parsed.scheme,
        parsed.raw_host.decode("ascii"),
        parsed.port,
        parsed.raw_path.decode("ascii"),
        parsed.userinfo,
    )


def read_by_eye(url: str) -> tuple[str, str, int | None, str, bytes]:
    """Take a normalised URL apart without any parser of URLs."""
    scheme, rest = url.split("://")
    location, slash, path = rest.partition("/")
    host, closed, port = location.rpartition("]") if "[" in location else location.partition(":")
    if closed == "]":
        host = host.removeprefix("[")
    port = port.removeprefix(":")
    return scheme, host, int(port) if port else None, f"{slash}{path}/sam2/x", b""


@pytest.mark.parametrize("url", [url for _, url in SAME])
def test_client_connects_to_the_host_that_was_checked(url: str) -> None:
    assert read_by_httpx(url) == read_by_eye(url)


PIECES = (
    *"abz09.-_@:/\\?#[]%.\t\n\r \x00\x1f\x7f;&=+~!$'()*,|^`{}<>\"fxZ",
    *("%2e", "%40", "%00", "..", "//", "://", "/./", "[::1]", "::ffff:1.2.3.4", "xn--", "0x7f"),
    *("roboflow.com", "evil.org", "@evil.org", ":443", "127.1"),
    *("\u3002", "\uff0e", "\uff52", "\u00df", "\u0130", "\u212a", "\u017f", "\u200b", "\u00ad"),
    *("\u2100", "\ud800", "\ufeff", "\u0131", "\u0663"),
)


def mutated(text: str, random_: random.Random) -> str:
    for _ in range(random_.randint(1, 3)):
        start = random_.randrange(len(text) + 1)
        end = start + random_.choice([0, 0, 1, 2, 5])
        text = text[:start] + random_.choice(PIECES) + text[end:]
    return text


def test_no_spelling_makes_the_client_connect_elsewhere() -> None:
    random_ = random.Random(20240817)
    taken = 0
    for _ in range(8000):
        text = mutated(random_.choice(SAME)[0], random_)
        try:
            url = normalise_url(text)
        except ValueError:
            continue
        taken += 1
        assert read_by_httpx(url) == read_by_eye(url), repr(text)
        assert normalise_url(url) == url, repr(text)
    assert taken > 300
