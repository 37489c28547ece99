"""What the page sends and fetches of batches past its handlers: files in as they are, results out."""

from collections.abc import Callable
from typing import Final

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from db.batches import UnknownBatchError, batch_of
from ooc_app.auth import Person
from ooc_app.checks.frozen import own_folder, take
from ooc_app.checks.results import written
from ooc_app.desk import Desk
from ooc_app.intake.entries import ImportFileError

MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
Asked = Callable[[Request], Person]
"""Says who makes a request; raises HTTPException where nobody may."""


def batch_routes(desk: Desk, asked: Asked) -> list[APIRoute]:
    """The routes of a batch's files and results."""

    async def take_file(token: str, number: int, name: str, request: Request) -> JSONResponse:
        person = await run_in_threadpool(asked, request)
        try:
            folder = await run_in_threadpool(own_folder, desk, token, person.annotator_id)
            await take(folder, number, name, request.stream())
        except ImportFileError as refused:
            raise HTTPException(413, str(refused)) from refused
        except ClientDisconnect as gone:
            raise HTTPException(400, "The file did not come whole.") from gone
        return JSONResponse({"ok": True})

    def results(token: str, kind: str, request: Request) -> StreamingResponse:
        asked(request)
        try:
            with desk.sessions() as session:
                batch = batch_of(session, token)
        except UnknownBatchError as unknown:
            raise HTTPException(404, str(unknown)) from unknown
        if kind not in MEDIA_TYPES:
            raise HTTPException(404, "Results come as csv or jsonl.")
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="checks-{batch.id}.{kind}"',
            "X-Content-Type-Options": "nosniff",
        }
        pieces = written(desk, batch, f".{kind}")
        return StreamingResponse(pieces, media_type=MEDIA_TYPES[kind], headers=headers)

    files = "/desk/batches/{token}/files/{number}"
    return [
        APIRoute(files, take_file, methods=["POST"], include_in_schema=False),
        APIRoute("/desk/batches/{token}/results.{kind}", results, methods=["GET"], include_in_schema=False),
    ]
