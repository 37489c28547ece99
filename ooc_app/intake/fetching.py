"""Fetch a picture from an address somebody pasted, without letting them reach what only this machine can.

An address may name the machine itself, its network, or a cloud's own services, directly, by a name
that stands for such a host, by a redirect, or by a name that changes what it stands for between the
look and the use. So a name is resolved once, every address it stands for must be public, the connection
goes to that very address, and a redirect starts all of this anew. The environment's proxies are not
used, nothing is sent but the request (no cookies, no credentials, no referrer), a compressed answer is
refused, and both its size and the time for everything together are limited. What comes is taken or
refused by the image door alone, whatever the server says it is.
"""

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ooc_app.intake.images import BYTES_MAX, ImageRefusedError, StoredImage, admit

Address = IPv4Address | IPv6Address

SECONDS_MAX = 20.0
SECONDS_TO_CONNECT = 5.0  # to one address; a name with a dead one goes on to its next
ADDRESSES_MAX = 4
REDIRECTS_MAX = 3
URL_MAX = 4_000  # characters
CHUNK = 1 << 16
UNESCAPED = "%/:?#[]@!$&'()*+,;=-._~"  # RFC 3986, section 2, and what is escaped already
PORTS = {"http": 80, "https": 443}
REDIRECTS = {301, 302, 303, 307, 308}
HEADERS = {
    "User-Agent": "OOC-Desk (fetches one picture for the person who gave its address)",
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
NOT_ONES_OWN = tuple(
    ip_network(block)
    for block in (
        "192.0.0.0/24",  # protocol assignments, some of which `ipaddress` calls global
        "192.88.99.0/24",  # the former relay of 6to4
        "168.63.129.16/32",  # Azure's service for its own machines, at a public address
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address, perhaps a private one, in disguise
        "3fff::/20",  # documentation (RFC 9637)
    )
)
"""What `ipaddress` of Python 3.11 calls global and is no web site (IANA's special-purpose registries)."""
GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: how a network without IPv4 reaches an IPv4 address


class FetchRefusedError(ImageRefusedError):
    """Raised for an address that is not fetched or gives no answer; the message is one sentence."""


def is_public(address: Address) -> bool:
    """Say whether an address may be a web site's: not this machine's, its network's or a cloud's own."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in GLOBAL_UNICAST:
            return False
    if any(address in block for block in NOT_ONES_OWN if block.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def resolved(host: str, port: int) -> list[Address]:
    """Ask the system what addresses a name stands for. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(entry[4][0])) for entry in found))


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be fetched, and how much of it."""

    allowed: Callable[[Address], bool] = is_public
    resolve: Callable[[str, int], list[Address]] = resolved
    ports: frozenset[int] = frozenset(PORTS.values())
    bytes_max: int = BYTES_MAX
    seconds_max: float = SECONDS_MAX
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an address gave: the bytes, where they came from in the end, what the server calls them."""

    data: bytes
    url: str
    media_type: str | None


def admit_url(url: str, images_dir: Path, reach: Reach | None = None) -> StoredImage:
    """Fetch a picture and admit it. Raises ImageRefusedError, with nothing stored."""
    found = fetched(url, reach)
    return admit(found.data, images_dir, found.media_type)


def fetched(url: str, reach: Reach | None = None) -> Fetched:
    """Fetch what an address gives, redirects followed. Raises FetchRefusedError."""
    reach, url = reach or Reach(), url.strip()
    with Patience(reach.seconds_max) as patience:
        for _ in range(1 + REDIRECTS_MAX):
            parts = checked(url, reach)
            with answered(parts, reach, patience) as answer:
                if answer.status not in REDIRECTS:
                    return Fetched(body(answer, reach, patience), url, answer.getheader("Content-Type"))
                location = answer.getheader("Location")
            url = redirected(url, location or "")
        raise FetchRefusedError(
            f"The address redirects more than {REDIRECTS_MAX} times: give the one it ends at."
        )


class Patience:
    """The time for one fetch; once it is over, the socket in use is shut, so that no read waits on.

    A context manager: what fails for want of time within it comes out as FetchRefusedError.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True

    def left(self) -> float:
        """The seconds left; raises TimeoutError where there are none."""
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def watch(self, used: socket.socket) -> None:
        """Shut this socket when time is over."""
        with self._lock:
            self._socket = used
        self.left()

    def _shut(self) -> None:
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    self._socket = None  # closed already, and nobody waits for it

    def __enter__(self) -> "Patience":
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timer.cancel()
        if error is not None and time.monotonic() >= self._until and isinstance(error, OSError | ValueError):
            raise FetchRefusedError(
                f"The address takes more than {self._seconds:g} seconds to answer: "
                "save the picture and choose the file."
            ) from error


def redirected(url: str, location: str) -> str:
    """The address that an answer leads on to. Raises FetchRefusedError."""
    try:
        if location:
            return urljoin(url, quote(location, safe=UNESCAPED, encoding="latin-1"))  # bytes, as they came
    except ValueError:  # brackets that hold no IPv6 address
        location = ""
    raise FetchRefusedError("The server redirects to nowhere: give the address of the picture.")


def checked(url: str, reach: Reach) -> SplitResult:
    """Take an address apart; raises FetchRefusedError for one that is not fetched."""
    if len(url) > URL_MAX or re.search(r"[\x00-\x20\x7f\\]", url):
        raise FetchRefusedError("This is no address of a picture: give one that begins with https://.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a port that is no number, brackets that hold no IPv6 address
        raise FetchRefusedError(f"{url[:80]!r} is no web address: look at how it is written.") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise FetchRefusedError("Only http:// and https:// addresses are fetched: give one of those.")
    if "@" in parts.netloc:
        raise FetchRefusedError("The address has a user name in it: give the one without.")
    if (port or PORTS[parts.scheme]) not in reach.ports:
        raise FetchRefusedError(f"Port {port} is not one that pictures are fetched from: use the usual one.")
    return parts


@contextmanager
def answered(parts: SplitResult, reach: Reach, patience: Patience) -> Iterator[http.client.HTTPResponse]:
    """Send the request to an address that may be reached; yield the answer, its body unread."""
    host, port = ascii_host(parts), parts.port or PORTS[parts.scheme]
    try:
        with (
            connected(addresses(host, port, reach, patience), port, patience) as plain,
            secured(plain, parts.scheme, host, reach) as used,
        ):
            patience.watch(used)
            if isinstance(used, ssl.SSLSocket):
                used.do_handshake()
            connection = http.client.HTTPConnection(host, port)
            connection.sock = used
            connection.request("GET", target(parts), headers={**HEADERS, "Host": host_header(parts, host)})
            with connection.getresponse() as answer:
                yield answer
    except ssl.SSLCertVerificationError as error:
        raise FetchRefusedError(
            f"The certificate of {host[:80]} is not valid: save the picture and choose the file."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        patience.left()
        raise FetchRefusedError(
            f"{host[:80]} gives no answer that can be read: look at the address, or try again."
        ) from error


def addresses(host: str, port: int, reach: Reach, patience: Patience) -> list[Address]:
    """Resolve a name, once; raises FetchRefusedError unless every address it stands for may be reached.

    One that may not, among others that may, is how a name is made to point inside.
    """
    asking = ThreadPoolExecutor(1, "resolve")
    try:
        found = asking.submit(reach.resolve, host, port).result(patience.left())
    except (socket.gaierror, UnicodeError) as error:
        raise FetchRefusedError(f"There is no host {host[:80]}: look at the address.") from error
    finally:
        asking.shutdown(wait=False)
    if not found or not all(reach.allowed(address) for address in found):
        raise FetchRefusedError(
            f"{host[:80]} is not on the public web, and nothing else is fetched: "
            "save the picture and choose the file."
        )
    return found[:ADDRESSES_MAX]


def connected(found: list[Address], port: int, patience: Patience) -> socket.socket:
    """Connect to the first of these addresses that takes it. Raises OSError."""
    failed: OSError = TimeoutError()
    for address in found:
        try:
            seconds = min(SECONDS_TO_CONNECT, patience.left())
            made = socket.create_connection((str(address), port), seconds)
        except OSError as error:
            failed = error
            continue
        made.settimeout(patience.left())
        return made
    raise failed


def secured(plain: socket.socket, scheme: str, host: str, reach: Reach) -> socket.socket:
    """Wrap a connection for https, before the handshake; the certificate must be the name's."""
    if scheme == "http":
        return plain
    return reach.tls().wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)


def body(answer: http.client.HTTPResponse, reach: Reach, patience: Patience) -> bytes:
    """Read the body of an answer. Raises FetchRefusedError where that is none, too large or not whole."""
    if answer.status != http.client.OK:
        raise FetchRefusedError(
            f"The server answers {answer.status} and gives no picture: open the address in a browser, "
            "save the picture and choose the file."
        )
    if answer.getheader("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise FetchRefusedError(
            "The server sends the picture compressed, though asked not to: save the picture and "
            "choose the file."
        )
    too_large = FetchRefusedError(
        f"The address gives more than the {reach.bytes_max / 1e6:g} MB a picture may have: "
        "save a smaller copy."
    )
    if (answer.length or 0) > reach.bytes_max:
        raise too_large
    data = bytearray()
    while chunk := answer.read(CHUNK):
        data += chunk
        if len(data) > reach.bytes_max:
            raise too_large
    patience.left()  # an answer without length, ended by the end of patience, looks whole
    if answer.length:
        raise FetchRefusedError("The connection broke before the picture was whole: try again.")
    return bytes(data)


def ascii_host(parts: SplitResult) -> str:
    """The host as it is asked for. Raises FetchRefusedError for what can be no name."""
    host = parts.hostname or ""
    if ":" in host:
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise FetchRefusedError(f"There is no host {host[:80]}: look at the address.") from None


def host_header(parts: SplitResult, host: str) -> str:
    """The value of `Host`: with brackets and port where they are wanted."""
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{parts.port}" if parts.port not in (None, PORTS[parts.scheme]) else name


def target(parts: SplitResult) -> str:
    """Path and query as they are sent, with what is not ASCII escaped; the fragment stays here."""
    path = quote(parts.path or "/", safe=UNESCAPED)
    return f"{path}?{quote(parts.query, safe=UNESCAPED)}" if parts.query else path
