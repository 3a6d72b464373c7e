"""The read calls of a Confluent or Karapace schema registry, so that stock deserializers read our topics.

The schemas are those of the `_schemas` topic. Nothing can be registered here.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from medbus.schemas import avro
from medbus.schemas.errors import SchemaError
from medbus.schemas.registry import Registry, Version

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"

SUBJECT_NOT_FOUND = 40401
VERSION_NOT_FOUND = 40402
SCHEMA_NOT_FOUND = 40403
INVALID_SCHEMA = 42201
INVALID_VERSION = 42202

Registries = Callable[[], Awaitable[Registry]]


class RegistryError(HTTPException):
    """An error as registries report it: a number of five digits, of which the first three are the status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code // 100, message)
        self.code = code


def routes(registry: Registries) -> list[Route]:
    """The routes of the read calls.

    Args:
        registry: gives the present state.
    """
    calls = RegistryCalls(registry)
    return [
        Route("/schemas/types", calls.types),
        Route("/schemas/ids/{id:int}", calls.schema),
        Route("/schemas/ids/{id:int}/schema", calls.text),
        Route("/schemas/ids/{id:int}/versions", calls.versions_of_id),
        Route("/subjects", calls.subjects),
        Route("/subjects/{subject}", calls.lookup, methods=["POST"]),
        Route("/subjects/{subject}/versions", calls.versions),
        Route("/subjects/{subject}/versions/{version}", calls.version),
        Route("/subjects/{subject}/versions/{version}/schema", calls.version_text),
    ]


class RegistryCalls:
    """The endpoints."""

    def __init__(self, registry: Registries) -> None:
        self._registry = registry

    async def types(self, _: Request) -> Response:
        """GET /schemas/types"""
        return answer(["AVRO"])

    async def schema(self, request: Request) -> Response:
        """GET /schemas/ids/{id}"""
        return answer({"schema": await self._text(request)})

    async def text(self, request: Request) -> Response:
        """GET /schemas/ids/{id}/schema"""
        return Response(await self._text(request), media_type=MEDIA_TYPE)

    async def versions_of_id(self, request: Request) -> Response:
        """GET /schemas/ids/{id}/versions"""
        found = (await self._registry()).versions_of_id(request.path_params["id"])
        if not found:
            raise RegistryError(SCHEMA_NOT_FOUND, "Schema not found")
        return answer([{"subject": each.subject, "version": each.version} for each in found])

    async def subjects(self, _: Request) -> Response:
        """GET /subjects"""
        return answer((await self._registry()).subjects())

    async def versions(self, request: Request) -> Response:
        """GET /subjects/{subject}/versions"""
        return answer([each.version for each in await self._versions(request)])

    async def version(self, request: Request) -> Response:
        """GET /subjects/{subject}/versions/{version or latest}"""
        return answer(described(await self._version(request)))

    async def version_text(self, request: Request) -> Response:
        """GET /subjects/{subject}/versions/{version or latest}/schema"""
        return Response((await self._version(request)).text, media_type=MEDIA_TYPE)

    async def lookup(self, request: Request) -> Response:
        """POST /subjects/{subject}: the version that a schema is."""
        versions = await self._versions(request)
        try:
            wanted = avro.fingerprint(json.loads(await request.body())["schema"])
        except Exception as error:  # whatever fastavro meets in a schema that is none
            raise RegistryError(INVALID_SCHEMA, f"Invalid schema: {error!r}") from error
        for each in reversed(versions):
            if avro.fingerprint(each.text) == wanted:
                return answer(described(each))
        raise RegistryError(SCHEMA_NOT_FOUND, "Schema not found")

    async def _text(self, request: Request) -> str:
        try:
            return (await self._registry()).text(request.path_params["id"])
        except SchemaError as error:
            raise RegistryError(SCHEMA_NOT_FOUND, error.message) from error

    async def _versions(self, request: Request) -> list[Version]:
        subject = request.path_params["subject"]
        found = (await self._registry()).versions(subject)
        if not found:
            raise RegistryError(SUBJECT_NOT_FOUND, f"Subject '{subject}' not found.")
        return found

    async def _version(self, request: Request) -> Version:
        versions = await self._versions(request)
        wanted = request.path_params["version"]
        if wanted in ("latest", "-1"):
            return versions[-1]
        if not wanted.isdecimal():
            raise RegistryError(INVALID_VERSION, f"'{wanted}' is not a valid version id.")
        for each in versions:
            if each.version == int(wanted):
                return each
        raise RegistryError(VERSION_NOT_FOUND, f"Version {wanted} not found.")


def answer(content: Any, status: int = 200) -> Response:
    """A JSON answer of a registry."""
    return Response(json.dumps(content), status, media_type=MEDIA_TYPE)


def described(version: Version) -> dict[str, Any]:
    """A version as registries describe it."""
    return {
        "subject": version.subject,
        "version": version.version,
        "id": version.id,
        "schemaType": "AVRO",
        "schema": version.text,
    }


async def on_error(_: Request, error: Exception) -> Response:
    """Any HTTP error as registries report it."""
    if isinstance(error, RegistryError):
        return answer({"error_code": error.code, "message": error.detail}, error.status_code)
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "Internal server error"
    return answer({"error_code": status, "message": detail}, status)
