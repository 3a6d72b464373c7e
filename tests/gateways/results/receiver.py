"""A receiver of webhooks, as a subscriber would have one: a real server on loopback."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Answering = Callable[[int], Awaitable[Response]]


class Server(uvicorn.Server):
    """One that leaves signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Receiver:
    """What came.

    Attributes:
        url: where it listens.
        answer: by the number of the webhook, from 1.
        came: signature and body of each, in the order in which they came.
        headers: of the last.
    """

    url: str
    answer: Answering
    came: list[tuple[str, bytes]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    async def take(self, request: Request) -> Response:
        self.headers = dict(request.headers)
        self.came.append((request.headers.get("medbus-signature", ""), await request.body()))
        return await self.answer(len(self.came))


def statuses(*codes: int, headers: dict[str, str] | None = None) -> Answering:
    """Answer with these, the last for ever."""

    async def answer(number: int) -> Response:
        code = codes[min(number, len(codes)) - 1]
        body = b"" if code == 204 else f"this is answer {number}".encode()
        return Response(body, code, headers=headers)

    return answer


@asynccontextmanager
async def receiver(answer: Answering, certificate: Any = None) -> AsyncIterator[Receiver]:
    """Run a receiver; with a certificate of trustme it speaks TLS."""
    listener = socket.create_server(("127.0.0.1", 0))
    scheme = "http" if certificate is None else "https"
    taken = Receiver(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/medbus", answer)
    app = Starlette(routes=[Route("/medbus", taken.take, methods=["GET", "POST"])])
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    if certificate is not None:
        config.load()
        config.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(config.ssl)
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield taken
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.wait((serving,), timeout=10)
