"""What may be handed in as a picture by a program: a file uploaded here, an address, or base64 data.

Gradio fetches the address of every file object it is given, for whatever field, before a handler sees it.
`UnfetchingBlocks` keeps it from that: an address goes on as the text it is, to be fetched by the desk's own
client (`intake/fetching.py`), or the call is refused. What is handed in here is only found or decoded into
a file; the image door alone opens it.
"""

import base64
import binascii
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState
from gradio.utils import get_upload_folder
from gradio_client.utils import (  # type: ignore[import-untyped]
    is_file_obj_with_meta,
    is_http_url_like,
    traverse,
)

from ooc_app.checks.question import CheckRefusedError
from ooc_app.intake.images import BYTES_MAX, DECLARED, ImageRefusedError, too_large

WAYS: Final = (
    "Give the picture as an uploaded file, as an address that begins with https://, or as base64 data."
)
UPLOADED: Final = "/gradio_api/file="  # how Gradio begins the address of an upload, before its path


class RefusedError(gr.Error):
    """Raised where a program is not answered; the message is one sentence, and no traceback is printed."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, print_exception=False)

    def __str__(self) -> str:
        """Return the sentence, which is what an MCP client is told; `gr.Error` has it in quotes."""
        return str(self.message)


class UnfetchingBlocks(gr.Blocks):
    """Blocks that fetch nothing by themselves, whatever a program gives for a file."""

    @property
    def mcp_server(self) -> bool:
        """Say that there is no MCP server, to the launch alone, which asks this before it announces one.

        Its announcement has an emoji in it, and a console that cannot write that ends the launch.
        """
        return False

    @mcp_server.setter
    def mcp_server(self, is_there: bool) -> None:
        """Take what Gradio notes; `mcp_server_obj` is what it works with."""

    async def preprocess_data(
        self,
        block_fn: BlockFunction,
        inputs: list[Any],
        state: SessionState | None,
        explicit_call: bool = False,
    ) -> list[Any]:
        """Prepare what an event was given; raises RefusedError for an address where a file belongs."""
        takes_text = not block_fn.preprocess  # a function of `gr.api`, which is given values as they came

        def unfetched(file: dict[str, Any]) -> Any:
            if takes_text:  # an address as text, and a path as what `picture_given` looks at
                return file["path"] if is_http_url_like(file["path"]) else {"path": file["path"]}
            if is_http_url_like(file["path"]):
                raise RefusedError("This field takes an uploaded file and no address.")
            return file

        given = traverse(inputs, unfetched, is_file_obj_with_meta)
        return await super().preprocess_data(block_fn, given, state, explicit_call)  # type: ignore[no-any-return]


@contextmanager
def picture_given(image: object) -> Iterator[tuple[Path | None, str]]:
    """Yield the file a picture is in, unopened, or else its address, which is empty where nothing is given.

    What was sent as data lies in a file that is gone afterwards. Raises CheckRefusedError for what is
    no way to give a picture, and ImageRefusedError for too much data.
    """
    if image is None or image == "":
        yield None, ""
    elif isinstance(image, Mapping):
        yield _upload(str(image.get("path", ""))), ""
    elif not isinstance(image, str):
        raise CheckRefusedError(WAYS)
    elif is_http_url_like(image.strip()):
        path = _own_upload(image.strip())
        yield path, "" if path else image.strip()
    else:
        with tempfile.TemporaryDirectory(prefix="ooc-given-") as folder:
            yield _written(image, Path(folder)), ""


def _upload(given: str) -> Path:
    """Return the path of an upload; raises CheckRefusedError for any other of this machine."""
    folder = Path(get_upload_folder()).resolve()
    path = Path(given.replace("\x00", "")).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        raise CheckRefusedError("This file was not uploaded here, or is no longer kept: upload it again.")
    return path


def _own_upload(address: str) -> Path | None:
    """Return the upload that an address of this desk stands for, None for any other address.

    Gradio's upload tool for MCP clients gives such an address, which our own client would not fetch
    from a machine that is not public.
    """
    _, mark, path = address.partition(UPLOADED)
    return _upload(unquote(path)) if mark else None


def _written(text: str, folder: Path) -> Path:
    """Decode base64 data, with `data:image/...;base64,` before it or without, into a file."""
    if len(text) > BYTES_MAX * 3 // 2:
        raise ImageRefusedError(too_large(len(text) * 3 // 4))
    head, _, data = text.rpartition(",")
    declared = re.fullmatch(r"data:(?:image/([\w.+-]{1,40}))?(?:;[\w=.+-]{1,80})*;base64", head.strip())
    if head and declared is None:
        raise CheckRefusedError(WAYS)
    try:
        decoded = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise CheckRefusedError(WAYS) from None
    ending = ((declared and declared[1]) or "").lower()
    path = folder / (f"picture.{ending}" if ending in DECLARED else "picture")
    path.write_bytes(decoded)
    return path
