"""A small DICOMweb server (QIDO-RS, WADO-RS) over files, which misbehaves where a test wants it to."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pydicom
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route


@dataclass
class Server:
    """What it holds, and what it was asked.

    Attributes:
        files: by SOP Instance UID.
        page: no answer has more entities.
        counts: whether it tells how many instances a study has.
        whole: whether an image is sent alone, not as a part.
        harm: changes the body of an answer with an image.
        broken: images that it answers with 500.
        redirect: sends every request there.
        asked: the paths, in turn.
        accepted, authorization, dates: what requests said of Accept, Authorization and StudyDate.
    """

    files: dict[str, Path] = field(default_factory=dict)
    page: int = 1000
    counts: bool = True
    whole: bool = False
    harm: Callable[[bytes], bytes] = bytes
    broken: set[str] = field(default_factory=set)
    redirect: str = ""
    asked: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    authorization: list[str] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def add(self, *files: Path) -> None:
        self.files |= {each.stem: each for each in files}

    def heads(self) -> list[pydicom.FileDataset]:
        return [pydicom.dcmread(each, stop_before_pixels=True) for each in self.files.values()]

    async def studies(self, request: Request) -> Response:
        self.dates.append(request.query_params.get("StudyDate", ""))
        counts: dict[str, int] = {}
        for each in self.heads():
            counts[each.StudyInstanceUID] = counts.get(each.StudyInstanceUID, 0) + 1
        found: list[dict[str, object]] = []
        for study, count in sorted(counts.items()):
            found.append({"0020000D": uid(study)})
            if self.counts:
                found[-1]["00201208"] = {"vr": "IS", "Value": [count]}
        return self._page(request, found)

    async def instances(self, request: Request) -> Response:
        study = request.path_params["study"]
        found = sorted(
            (each for each in self.heads() if study == each.StudyInstanceUID),
            key=lambda each: str(each.SOPInstanceUID),
        )
        return self._page(
            request,
            [
                {
                    "00080016": uid(each.SOPClassUID),
                    "00080018": uid(each.SOPInstanceUID),
                    "0020000D": uid(each.StudyInstanceUID),
                    "0020000E": uid(each.SeriesInstanceUID),
                }
                for each in found
            ],
        )

    async def image(self, request: Request) -> Response:
        name = request.path_params["instance"]
        self.asked.append(request.url.path)
        self.accepted.append(request.headers["accept"])
        if name in self.broken or name not in self.files:
            return Response("broken", status_code=500 if name in self.broken else 404)
        contents = self.files[name].read_bytes()
        if self.whole:
            return Response(contents, media_type="application/dicom")
        boundary = uuid4().hex
        body = self.harm(
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            + contents
            + f"\r\n--{boundary}--".encode()
        )

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 1000):
                yield body[start : start + 1000]

        kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
        return StreamingResponse(chunks(), media_type=kind)

    def _page(self, request: Request, entities: list[dict[str, object]]) -> Response:
        self.asked.append(request.url.path)
        self.authorization.append(request.headers.get("authorization", ""))
        if self.redirect:
            return RedirectResponse(self.redirect)
        asked = request.query_params
        start = int(asked.get("offset", 0))
        page = entities[start : start + min(self.page, int(asked.get("limit", 1000)))]
        if not page:
            return Response(status_code=204)
        return JSONResponse(page, media_type="application/dicom+json")


def uid(value: str) -> dict[str, object]:
    """A UID in DICOM JSON."""
    return {"vr": "UI", "Value": [str(value)]}


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """Run one at a free port of loopback."""
    server = Server()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server.port = int(listener.getsockname()[1])
    root = "/dicom-web/studies"
    app = Starlette(
        routes=[
            Route(root, server.studies),
            Route(root + "/{study}/instances", server.instances),
            Route(root + "/{study}/series/{series}/instances/{instance}", server.image),
        ]
    )
    running = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        yield server
    finally:
        running.should_exit = True
        await task
