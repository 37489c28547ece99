"""Pictures with something in them, the shared photographs, and a way to really sign a file."""

import datetime as dt
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from c2pa import Builder, C2paSignerInfo, Signer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

SHARED_DIR = Path(__file__).resolve().parents[4] / "shared" / "data"
Scene = Callable[[int], Image.Image]
Sign = Callable[..., bytes]


class Chain(NamedTuple):
    """A certificate authority and a signer's certificate and key, as PEM."""

    root: bytes
    leaf: bytes
    key: bytes


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Give a function that makes a picture full of shapes, another one for each number."""

    def make(number: int) -> Image.Image:
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        fine = Image.fromarray(random.integers(0, 256, (45, 60, 3), dtype=np.uint8)).resize((360, 270))
        return Image.blend(coarse.resize((360, 270), Image.Resampling.BICUBIC), fine, 0.3)

    return make


@pytest.fixture(scope="session")
def photographs() -> list[Path]:
    """The real photographs, read where they are."""
    found = sorted((SHARED_DIR / "photos" / "images").glob("*.jpg"))
    if not found:
        pytest.skip(f"there are no photographs in {SHARED_DIR / 'photos' / 'images'}")
    return found


@pytest.fixture(scope="session")
def uploads() -> Path:
    """The folder of odd, broken and hostile files."""
    folder = SHARED_DIR / "uploads" / "files"
    if not folder.is_dir():
        pytest.skip(f"there are no hostile files in {folder}")
    return folder


@pytest.fixture(scope="session")
def chain() -> Chain:
    """A test root and a signer it certifies."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("Test Root", root_key, root_key, is_authority=True)
    leaf = _certificate("Test Signer", key, root_key, is_authority=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Chain(root, leaf, private)


@pytest.fixture(scope="session")
def sign(chain: Chain) -> Sign:
    """Give a function that signs JPEG bytes; with `remote` the manifest is left out and said to lie there."""

    def signed(data: bytes, *, source: str = "digitalCapture", remote: str | None = None) -> bytes:
        kinds = "http://cv.iptc.org/newscodes/digitalsourcetype/"
        created = {"action": "c2pa.created", "digitalSourceType": kinds + source}
        builder = Builder(
            {
                "claim_generator_info": [{"name": "Test Camera", "version": "1"}],
                "title": "The quay",
                "assertions": [{"label": "c2pa.actions", "data": {"actions": [created]}}],
            }
        )
        if remote:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        signer = Signer.from_info(C2paSignerInfo(b"es256", chain.leaf + chain.root, chain.key, None))
        target = io.BytesIO()
        builder.sign(signer, "image/jpeg", io.BytesIO(data), target)
        return target.getvalue()

    return signed


def jpeg(image: Image.Image, **options: object) -> bytes:
    """Save a picture as JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, root_key: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> bytes:
    """Make a certificate as C2PA 2.2, section 14.5, wants them."""
    now = dt.datetime.now(dt.UTC)
    unused = (
        "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
        "decipher_only",
    )  # fmt: skip
    usage = dict.fromkeys(unused, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("Test Root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
    )
    if not is_authority:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
    return builder.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(common: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test Newsroom")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])
