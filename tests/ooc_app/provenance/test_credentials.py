import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from ooc_app.provenance import credentials
from ooc_app.provenance.credentials import State, read_credentials
from tests.ooc_app.provenance.conftest import Chain, Scene, Sign, jpeg


@pytest.fixture(scope="module")
def signed(scene: Scene, sign: Sign) -> bytes:
    return sign(jpeg(scene(1)))


@pytest.fixture
def trust_list(tmp_path: Path, chain: Chain) -> Path:
    (tmp_path / "trust-list.pem").write_bytes(chain.root)
    return tmp_path / "trust-list.pem"


@pytest.fixture
def asked_for() -> Iterator[tuple[str, list[str]]]:
    """A web server's address, and what it was asked for."""
    paths: list[str] = []

    class Noting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

    server = HTTPServer(("127.0.0.1", 0), Noting)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/manifest.c2pa", paths
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_picture_changed_after_signing_is_invalid_even_where_the_signer_is_trusted(
    signed: bytes, trust_list: Path
) -> None:
    tampered = bytearray(signed)
    tampered[-200] ^= 0xFF
    found = read_credentials(bytes(tampered), trust_list)
    assert found.state is State.INVALID
    assert "assertion.dataHash.mismatch" in found.problems


def test_a_manifest_changed_after_signing_is_invalid(signed: bytes, trust_list: Path) -> None:
    assert b"Test Camera" in signed
    found = read_credentials(signed.replace(b"Test Camera", b"Best Camera"), trust_list)
    assert found.state is State.INVALID


def test_files_tampered_with_by_others_are_invalid(uploads: Path) -> None:
    for name in ("c2pa__adobe-20220124-E-dat-CA.jpg", "c2pa__adobe-20220124-E-sig-CA.jpg"):
        assert read_credentials((uploads / name).read_bytes()).state is State.INVALID


def test_a_manifest_kept_on_a_server_is_not_fetched(
    scene: Scene, sign: Sign, asked_for: tuple[str, list[str]]
) -> None:
    address, paths = asked_for
    found = read_credentials(sign(jpeg(scene(1)), remote=address))
    assert (found.state, found.facts) == (State.ELSEWHERE, (("server", "127.0.0.1"),))
    assert paths == []


def test_a_trust_list_that_cannot_be_read_is_said_and_trusts_nobody(signed: bytes, tmp_path: Path) -> None:
    (tmp_path / "list.pem").write_bytes(b"\xff\xfe\x00")
    found = read_credentials(signed, tmp_path / "list.pem")
    assert found.state is State.NOT_LOOKED_AT
    assert "list.pem cannot be read" in found.means


def test_without_the_library_it_says_that_it_did_not_look(
    signed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(credentials, "find_spec", nothing)
    found = read_credentials(signed)
    assert found.means == "Not looked at: c2pa-python is not installed."


def test_no_credentials_are_said_to_prove_nothing(scene: Scene) -> None:
    found = read_credentials(jpeg(scene(2)))
    assert found.state is State.NONE
    assert "proves nothing" in found.means


def test_who_is_not_on_the_trust_list_is_an_unknown_signer(signed: bytes, tmp_path: Path) -> None:
    found = read_credentials(signed, tmp_path / "no-such-list.pem")
    assert found.state is State.VALID
    assert dict(found.facts)["signed by"] == "Test Signer, Test Newsroom"
    assert dict(found.facts)["made with"] == "Test Camera"
    assert found.problems == ()


def test_who_is_on_it_is_trusted(signed: bytes, trust_list: Path) -> None:
    assert read_credentials(signed, trust_list).state is State.TRUSTED


def test_a_picture_said_to_be_generated_is_called_so(scene: Scene, sign: Sign) -> None:
    assert read_credentials(sign(jpeg(scene(1)), source="trainedAlgorithmicMedia")).is_generated
