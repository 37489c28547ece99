"""The door before the MCP server, which Gradio mounts beside the routes that it asks `auth_dependency` for.

Without it anybody who reaches the port lists the tools, and a page of another site calls them through a
browser on the desk's machine, by the desk's own name or by one it has pointed there (DNS rebinding). MCP's
specification asks a server to look at `Origin` for that; the door looks at `Host` too.
"""

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from ooc_app.api import MCP_PATH
from ooc_app.sign_in import Door


class McpDoor:
    """ASGI middleware that lets people of the desk through to the MCP server, and everything else pass."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request of nobody the desk knows, before any of its body is read."""
        if scope["type"] == "http" and MCP_PATH in scope["path"]:
            try:
                await run_in_threadpool(self._door.person, Request(scope))
            except HTTPException as refused:
                await JSONResponse({"detail": refused.detail}, refused.status_code)(scope, receive, send)
                return
        await self._app(scope, receive, send)
