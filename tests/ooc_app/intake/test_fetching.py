import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest

from ooc_app.__main__ import main
from ooc_app.intake.fetching import Address, Fetched, FetchRefusedError, Reach, admit_url, fetched, is_public
from ooc_app.intake.images import ImageRefusedError, stored_path

Picture = Callable[..., bytes]
LOOPBACK = ip_address("127.0.0.1")


class Site(ThreadingHTTPServer):
    """A server on a free port of this machine; answers what `pages` holds, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.pages: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what these tests are about."""


class Answering(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers.items())))
        self.server.pages[self.path](self)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as opened:
        serving = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        yield opened
        opened.closing.set()
        opened.shutdown()
        serving.join()


def gives(body: bytes = b"", status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(status)
        for name, value in headers.items():
            to.send_header(name.replace("_", "-"), value)
        to.end_headers()
        to.wfile.write(body)

    return answer


def local(site: Site, **changed: object) -> Reach:
    """What a test may reach: this machine at the site's port, and nothing else."""
    given: dict[str, object] = {
        "allowed": lambda address: address == LOOPBACK,
        "resolve": lambda host, port: [LOOPBACK],
        "ports": frozenset({site.port}),
        **changed,
    }
    return Reach(**given)  # type: ignore[arg-type]


def at(site: Site, path: str = "/a.jpg", host: str = "pictures.test") -> str:
    return f"http://{host}:{site.port}{path}"


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.9", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1",
        "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
        "255.255.255.255", "168.63.129.16",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::1",
        "2001:db8::1", "2002:7f00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
        "fe80::1%eth0", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_no_address_of_a_machine_or_a_network_or_a_cloud_is_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.215.14", "::ffff:1.1.1.1", "64:ff9b::101:101", "2606:4700::1111", "2a00:1450::1"],
)
def test_addresses_of_web_sites_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///etc/passwd", "Only http"),
        ("ftp://example.org/a.jpg", "Only http"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "Only http"),
        ("data:image/png;base64,AAAA", "Only http"),
        ("//example.org/a.jpg", "Only http"),
        ("https:///a.jpg", "Only http"),
        ("a.jpg", "Only http"),
        ("", "Only http"),
        ("http://user:secret@example.org/a.jpg", "user name"),
        ("http://example.org@127.0.0.1/a.jpg", "user name"),
        ("http://example.org:22/a.jpg", "Port 22"),
        ("http://example.org:99999/a.jpg", "no web address"),
        ("http://[::1/a.jpg", "no web address"),
        ("http://example.org/a b.jpg", "no address"),
        ("http://example.org\\@127.0.0.1/", "no address"),
        ("http://example.org/\r\nHost: b", "no address"),
        ("http://example.org/" + "a" * 4_000, "no address"),
        ("http://" + "a" * 70 + ".org/", "no host"),
        ("http://a..org/", "no host"),
    ],
)
def test_what_is_no_plain_web_address_is_refused_before_anything_is_asked(url: str, said: str) -> None:
    def resolve(host: str, port: int) -> list[Address]:
        raise AssertionError(f"{host} was asked for")

    with pytest.raises(FetchRefusedError, match=said) as refused:
        fetched(url, Reach(resolve=resolve))
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0177.0.0.1", "0",
     "127.1", "169.254.169.254", "[64:ff9b::7f00:1]", "LOCALHOST", "127.0.0.1."],
)  # fmt: skip
def test_this_machine_is_not_reached_however_it_is_written(host: str, site: Site) -> None:
    with pytest.raises(FetchRefusedError, match=r"not on the public web|no host"):
        fetched(f"http://{host}:{site.port}/a.jpg", Reach(ports=frozenset({site.port})))
    assert site.asked == []


def test_the_command_line_fetches_nothing_from_this_machine(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["check", at(site, host="127.0.0.1"), "--caption", "A.", "--data", str(tmp_path / "data")]
    assert main(argv) == 1
    assert f"Port {site.port} is not" in capsys.readouterr().err
    assert main(["check", "HTTP://localhost/a.jpg", *argv[2:]]) == 1
    assert "localhost is not on the public web" in capsys.readouterr().err
    assert site.asked == []


def test_a_name_one_of_whose_addresses_is_inside_is_refused_whole(site: Site) -> None:
    both = [ip_address("1.1.1.1"), LOOPBACK]
    with pytest.raises(FetchRefusedError, match="not on the public web"):
        fetched(at(site), Reach(resolve=lambda host, port: both, ports=frozenset({site.port})))
    assert site.asked == []


def test_a_name_is_resolved_once_and_the_connection_goes_to_that_address(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[list[Address]] = [[LOOPBACK], [ip_address("127.0.0.2")]]
    reached: list[object] = []
    connect = socket.create_connection

    def connecting(address: tuple[str, int], timeout: float) -> socket.socket:
        reached.append(address)
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", connecting)
    site.pages["/a.jpg"] = gives(b"bytes")
    fetched(at(site), local(site, resolve=lambda host, port: answers.pop(0)))
    assert reached == [("127.0.0.1", site.port)]
    assert len(answers) == 1
    assert site.asked[0][1]["Host"] == f"pictures.test:{site.port}"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://127.0.0.1/latest/meta-data", "not on the public web"),
        ("http://inside.test/", "not on the public web"),
        ("http://pictures.test:22/", "Port 22"),
        ("http://u:p@pictures.test/", "user name"),
        ("file:///etc/passwd", "Only http"),
        ("", "redirects to nowhere"),
        ("http://[::1", "redirects to nowhere"),
        ("http://pictures.test:99999/", "no web address"),
    ],
)
def test_a_redirect_is_checked_like_the_address_itself(location: str, said: str, site: Site) -> None:
    def resolve(host: str, port: int) -> list[Address]:
        return [LOOPBACK if host == "pictures.test" else ip_address("10.0.0.1")]

    site.pages["/a.jpg"] = gives(status=302, Location=location)
    with pytest.raises(FetchRefusedError, match=said):
        fetched(at(site), local(site, resolve=resolve, ports=frozenset({80, site.port})))
    assert [path for path, _ in site.asked] == ["/a.jpg"]


def test_three_redirects_are_followed_and_a_fourth_is_not(site: Site) -> None:
    for number in range(4):
        site.pages[f"/{number}"] = gives(status=301 + number % 2, Location=f"{number + 1}#part")
    site.pages["/4"] = gives(b"bytes")
    assert fetched(at(site, "/1"), local(site)).url == at(site, "/4#part")
    with pytest.raises(FetchRefusedError, match="more than 3 times"):
        fetched(at(site, "/0"), local(site))


def test_nothing_is_sent_but_the_request(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    site.pages["/a.jpg"] = gives(status=303, Location="/b%20c.jpg?d=%C3%A9&e=f+g", Set_Cookie="a=b")
    site.pages["/b%20c.jpg?d=%C3%A9&e=f+g"] = gives(b"bytes", Content_Type="image/png")
    assert fetched(at(site), local(site)) == Fetched(
        b"bytes", at(site, "/b%20c.jpg?d=%C3%A9&e=f+g"), "image/png"
    )
    for _, headers in site.asked:
        assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}


def test_letters_of_any_script_are_escaped_in_path_and_host(site: Site) -> None:
    hosts: list[str] = []

    def resolve(host: str, port: int) -> list[Address]:
        hosts.append(host)
        return [LOOPBACK]

    site.pages["/%C3%A9.jpg?%D7%A9"] = gives(b"bytes")
    assert fetched(at(site, "/é.jpg?ש", "bücher.test"), local(site, resolve=resolve)).data == b"bytes"
    assert hosts == ["xn--bcher-kva.test"]
    site.pages["/a.jpg"] = gives(status=301, Location="/é.jpg?ש".encode().decode("latin-1"))
    assert fetched(f"\n{at(site)} ", local(site)).url == at(site, "/%C3%A9.jpg?%D7%A9")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (gives(b"x", status=404), "answers 404"),
        (gives(b"x", status=206), "answers 206"),
        (gives(b"x" * 2_001), "more than the 0.002 MB"),
        (gives(b"x", Content_Length="2001"), "more than the 0.002 MB"),
        (gives(b"x" * 99, Content_Length="100"), "broke before"),
        (gives(b"5\r\nabc", Transfer_Encoding="chunked"), "no answer that can be read"),
        (gives(gzip.compress(b"x" * 1_000), Content_Encoding="gzip"), "compressed"),
        (lambda to: to.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n"), "no answer that can be read"),
        (lambda to: to.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200), "no answer that can be read"),
        (lambda to: None, "no answer that can be read"),
    ],
)
def test_an_answer_that_is_no_whole_picture_is_refused_in_one_sentence(
    page: Callable[[BaseHTTPRequestHandler], None], said: str, site: Site
) -> None:
    def cut(to: BaseHTTPRequestHandler) -> None:
        to.protocol_version = "HTTP/1.1"
        page(to)

    site.pages["/a.jpg"] = cut
    with pytest.raises(FetchRefusedError, match=said) as refused:
        fetched(at(site), local(site, bytes_max=2_000))
    assert str(refused.value).count(". ") == 0


def drip(what: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Send the same few bytes again and again, faster than any single wait is long."""

    def answer(to: BaseHTTPRequestHandler) -> None:
        assert isinstance(to.server, Site)
        while not to.server.closing.wait(0.02):
            to.wfile.write(what)

    return answer


@pytest.mark.parametrize(
    "page",
    [
        drip(b"H"),
        lambda to: drip(b"A")(to) if gives()(to) is None else None,
        lambda to: time.sleep(1.0),
    ],
    ids=["headers", "body", "silence"],
)
def test_a_server_that_never_ends_is_left_when_the_time_is_over(
    page: Callable[[BaseHTTPRequestHandler], None], site: Site
) -> None:
    site.pages["/a.jpg"] = page
    with pytest.raises(FetchRefusedError, match=r"more than 0\.3 seconds"):
        fetched(at(site), local(site, seconds_max=0.3))


def test_a_name_that_is_never_resolved_is_left_when_the_time_is_over(site: Site) -> None:
    asked = threading.Event()

    def resolve(host: str, port: int) -> list[Address]:
        asked.wait()
        return [LOOPBACK]

    with pytest.raises(FetchRefusedError, match=r"more than 0\.1 seconds"):
        fetched(at(site), local(site, resolve=resolve, seconds_max=0.1))
    asked.set()


def test_a_name_nobody_has_and_a_port_nobody_listens_at_are_refused(site: Site) -> None:
    def resolve(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(FetchRefusedError, match=r"no host pictures\.test"):
        fetched(at(site), local(site, resolve=resolve))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(FetchRefusedError, match="no answer"):
        fetched(f"http://pictures.test:{port}/", local(site, ports=frozenset({port})))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and its key for pictures.test, signed by itself."""
    path = tmp_path / "pictures.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", str(path), "-out", f"{path}.crt", "-days", "2", "-subj", "/CN=pictures.test"]
    try:
        subprocess.run(
            [*command, "-addext", "subjectAltName=DNS:pictures.test"], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    with path.open("ab") as file:
        file.write(Path(f"{path}.crt").read_bytes())
    return path


def test_https_is_spoken_to_the_name_and_not_to_whoever_has_the_address(
    site: Site, certificate: Path
) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate)
    site.socket = own.wrap_socket(site.socket, server_side=True)
    site.pages["/a.jpg"] = gives(b"bytes")
    trusting = local(site, tls=lambda: ssl.create_default_context(cafile=f"{certificate}.crt"))
    assert fetched(at(site).replace("http", "https", 1), trusting).data == b"bytes"
    with pytest.raises(FetchRefusedError, match=r"certificate of other\.test is not valid"):
        fetched(at(site, host="other.test").replace("http", "https", 1), trusting)
    with pytest.raises(FetchRefusedError, match=r"certificate of pictures\.test is not valid"):
        fetched(at(site).replace("http", "https", 1), local(site))
    assert len(site.asked) == 1


def test_https_from_a_server_without_it_is_refused(site: Site) -> None:
    with pytest.raises(FetchRefusedError, match="no answer"):
        fetched(at(site).replace("http", "https", 1), local(site))


def test_a_server_that_stalls_in_the_handshake_is_left_when_the_time_is_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        reach = Reach(lambda address: True, lambda host, port: [LOOPBACK], frozenset({port}), seconds_max=0.3)
        with pytest.raises(FetchRefusedError, match=r"more than 0\.3 seconds"):
            fetched(f"https://pictures.test:{port}/", reach)


def test_what_comes_goes_through_the_door_whatever_the_server_calls_it(
    site: Site, tmp_path: Path, picture: Picture
) -> None:
    site.pages["/page"] = gives(b"<!DOCTYPE html><html></html>", Content_Type="image/jpeg")
    site.pages["/drawing"] = gives(b"<svg xmlns='http://www.w3.org/2000/svg'/>", Content_Type="image/png")
    for path, said in (("/page", "web page"), ("/drawing", "SVG")):
        with pytest.raises(ImageRefusedError, match=said):
            admit_url(at(site, path), tmp_path, local(site))
    assert list(tmp_path.iterdir()) == []
    site.pages["/a.jpg"] = gives(picture(), Content_Type="image/webp; q=1")
    stored = admit_url(at(site), tmp_path, local(site))
    assert stored_path(stored.sha256, tmp_path).read_bytes() == picture()
    assert stored.notes == ("The picture is declared as WebP and is JPEG: it is read as JPEG.",)
