"""Check a picture's Content Credentials, in a process of its own: `python -m ...credentials_reader`.

Content Credentials are the signed manifests of C2PA (specification 2.2). The reader is c2pa-python, the
binding of the reference implementation in Rust. Nothing is fetched: no manifest kept on a server, no
certificate status. Answers with `state`, the word of c2pa-rs (Trusted, Valid, Invalid) or one of `none`,
`elsewhere` and, for a damaged picture, `unreadable`, and with what the active manifest says, each text
cut to TEXT_MAX.
"""

import io
import json
import sys
from typing import Any, Final
from urllib.parse import urlsplit

from c2pa import C2paError, Context, Reader

from ooc_app.provenance.apart import given_to_this_process, limit_this_process

TEXT_MAX: Final = 300
LISTED_MAX: Final = 20
SIGNATURES: Final = (
    (b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"),
    (b"II*\0", "image/tiff"), (b"MM\0*", "image/tiff"),
)  # fmt: skip
INNER_SIGNATURES: Final = (
    (b"WEBP", "image/webp"), (b"ftypavif", "image/avif"), (b"ftypheic", "image/heic"),
    (b"ftypmif1", "image/heif"), (b"ftypheix", "image/heic"),
)  # fmt: skip


def main() -> None:
    """Answer for the one picture given; `anchors` of the options is the trust list as PEM, or null."""
    limit_this_process()
    options, data = given_to_this_process()
    anchors = options.get("anchors")
    json.dump(checked(data, anchors if isinstance(anchors, str) else None), sys.stdout)


def checked(data: bytes, anchors: str | None) -> dict[str, Any]:
    """Read and validate the manifest store in a picture."""
    mime = media_type(data)
    if mime is None:
        return {"state": "none"}
    try:
        with (
            Context.from_dict(_settings(anchors)) as context,
            Reader(mime, io.BytesIO(data), context=context) as reader,
        ):
            return _told(reader)
    except C2paError.ManifestNotFound:
        return {"state": "none"}
    except C2paError as error:
        said = str(error)
        if said.startswith("Remote"):
            return {"state": "elsewhere", "host": _host(said)}
        state = "unreadable" if "asset could not be parsed" in said else "Invalid"
        return {"state": state, "problem": _text(said)}


def media_type(data: bytes) -> str | None:
    """Name the format by its first bytes, None for one that holds no credentials."""
    for mark, mime in SIGNATURES:
        if data.startswith(mark):
            return mime
    return next((mime for mark, mime in INNER_SIGNATURES if data[4:12].endswith(mark)), None)


def _settings(anchors: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
        "core": {"allowed_network_hosts": []},
    }
    if anchors:
        settings["trust"] = {"trust_anchors": anchors}
    return settings


def _told(reader: Any) -> dict[str, Any]:
    manifest = reader.get_active_manifest() or {}
    signature = manifest.get("signature_info") or {}
    results = (reader.get_validation_results() or {}).get("activeManifest") or {}
    generators = [_text(one.get("name")) for one in manifest.get("claim_generator_info") or []]
    return {
        "state": reader.get_validation_state(),
        "failures": [_text(one.get("code")) for one in (results.get("failure") or [])[:LISTED_MAX]],
        "title": _text(manifest.get("title")),
        "generator": ", ".join(generators[:3]) or _text(manifest.get("claim_generator")),
        "issuer": _text(signature.get("issuer")),
        "signer": _text(signature.get("common_name")),
        "signed_at": _text(signature.get("time")),
        "actions": _actions(manifest),
        "sources": _sources(manifest),
        "ingredients": [_text(one.get("title")) for one in (manifest.get("ingredients") or [])[:LISTED_MAX]],
    }


def _entries(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for assertion in manifest.get("assertions") or []:
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            found += [one for one in assertion.get("data", {}).get("actions") or [] if isinstance(one, dict)]
    return found[:LISTED_MAX]


def _actions(manifest: dict[str, Any]) -> list[str]:
    return [_text(one.get("action")) for one in _entries(manifest)]


def _sources(manifest: dict[str, Any]) -> list[str]:
    found = [_text(one.get("digitalSourceType")).rpartition("/")[2] for one in _entries(manifest)]
    return [source for source in found if source]


def _host(message: str) -> str:
    """Name the server in an error message that ends in the manifest's address."""
    address = next((word for word in message.split() if "://" in word), "")
    try:
        return _text(urlsplit(address).hostname)
    except ValueError:
        return ""


def _text(value: Any) -> str:
    text = "" if value is None else str(value)[: 2 * TEXT_MAX]
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:TEXT_MAX]


if __name__ == "__main__":
    main()
