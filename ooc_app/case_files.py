"""What the Cases tab loads past its handlers: thumbnails, and exports to download."""

from collections.abc import Callable

from fastapi import HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute

from db.vocabulary import Role
from ooc_app.auth import Person
from ooc_app.case_transfer import EXPORT_NAME, exports_dir, is_export
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, UnknownImageError, thumbnail

Asked = Callable[[Request], Person]
"""Says who makes a request; raises HTTPException where nobody may."""


def case_routes(desk: Desk, asked: Asked) -> list[APIRoute]:
    """The routes of thumbnails and exports."""

    def thumb(sha256: str, request: Request) -> FileResponse:
        person = asked(request)
        try:
            path = thumbnail(sha256, desk.images_dir)
        except UnknownImageError as unknown:
            raise HTTPException(404, str(unknown)) from unknown
        except ImageRefusedError as refused:
            raise HTTPException(415, str(refused)) from refused
        headers = {
            "Cache-Control": "private, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
        }
        if person.signed_in:
            headers["Vary"] = "Cookie"  # the next one at this browser is not served from what it kept
        return FileResponse(path, media_type="image/jpeg", headers=headers)

    def export(name: str, request: Request) -> FileResponse:
        if asked(request).role != Role.EDITOR:
            raise HTTPException(403, "Exports are downloaded by editors.")
        path = exports_dir(desk) / name
        if not EXPORT_NAME.fullmatch(name) or not is_export(path):
            raise HTTPException(404, "There is no such export; it may have been removed.")
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return FileResponse(path, filename=name, media_type="application/octet-stream", headers=headers)

    return [
        APIRoute("/desk/thumbs/{sha256}", thumb, methods=["GET"], include_in_schema=False),
        APIRoute("/desk/exports/{name}", export, methods=["GET"], include_in_schema=False),
    ]
