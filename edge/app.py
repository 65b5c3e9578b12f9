"""The routes of the edge."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from contract.socket import Close
from edge import web
from edge.capture.asgi import CaptureSocket
from edge.rest import routes as rest
from edge.rest.faults import AnsweredFaults
from edge.rest.problem import HANDLERS, Problem
from edge.services import Services


async def unknown_socket(websocket: WebSocket) -> None:
    """Answer a WebSocket handshake at a path that has no WebSocket."""
    root = websocket.scope["root_path"]
    detail = f"there is no WebSocket here; the capture socket is {root}/api/v1/stream/{{job_id}}"
    await websocket.send_denial_response(Problem(404, detail).response())


async def on_client_gone(_request: Request, _exc: Exception) -> Response:
    """Deal with a client that left, or was too slow, in the middle of its request; nobody reads this."""
    return Response(status_code=400)


def application(services: Services) -> Starlette:
    """The edge as an ASGI application."""
    capture = CaptureSocket()
    app = Starlette(
        routes=[
            *rest.routes(),
            WebSocketRoute("/api/v1/stream/{job_id}", capture),
            WebSocketRoute("/ws/{job_id}", capture),
            WebSocketRoute("/ws/v1/stream/{job_id}", CaptureSocket(unknown_job=Close.POLICY)),
            WebSocketRoute("/{path:path}", unknown_socket),
            *web.routes(),
        ],
        exception_handlers={**HANDLERS, ClientDisconnect: on_client_gone},
        middleware=[Middleware(AnsweredFaults, services.faults)],
    )
    app.state.services = services
    app.state.peaks_lock = asyncio.Lock()
    return app
