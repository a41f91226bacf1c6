"""Errors as problem documents (RFC 9457). They name the field and the mend, never what the sender wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.contracts.envelope import UNKNOWN_FIELD

MAX_REQUEST_BYTES = 1024 * 1024
"""The largest request body: a batch of events. A larger one is answered with 413 and not read to its end."""


class Problem(Exception):
    """An answer that says what is wrong: becomes an `application/problem+json` document.

    `reason` is a short code, stable across releases, and the last part of the document's `type`.
    """

    def __init__(self, status: int, reason: str, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.field = field

    def document(self) -> dict[str, Any]:
        return problem_document(self.status, self.reason, self.detail, self.field)


_TITLES = {
    400: "Malformed request",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    410: "Gone",
    413: "Too large",
    415: "Unsupported media type",
    422: "Refused",
    429: "Too many requests",
    500: "Internal error",
    503: "Not now",
}


def problem_document(status: int, reason: str, detail: str, field: str | None = None) -> dict[str, Any]:
    """The members of RFC 9457, with `reason` and `field` as extensions."""
    document: dict[str, Any] = {
        "type": f"urn:aftercare:problem:{reason}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "reason": reason,
    }
    if field:
        document["field"] = field
    return document


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(
        problem.document(), problem.status, headers=headers, media_type="application/problem+json"
    )


def _location(parts: Sequence[int | str], declared: set[str]) -> str:
    """Where in the request. A name that we did not declare is the sender's text, and may carry anything."""
    source, *steps = (part for part in parts if part != "[key]")
    places = [str(step) if isinstance(step, int) or step in declared else UNKNOWN_FIELD for step in steps]
    return ".".join([str(source), *places])


def _declared(app: FastAPI) -> set[str]:
    """The name of every parameter and of every field, at any depth, that the application's requests may have."""
    schema = app.openapi()
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    models = schema.get("components", {}).get("schemas", {}).values()
    return {
        parameter["name"] for operation in operations for parameter in operation.get("parameters", ())
    } | {name for model in models for name in model.get("properties", {})}


def _message(error: dict[str, Any]) -> str:
    """What is wrong. Pydantic's own `tag` and `error` may quote the value; an `error` that we raised does not."""
    context = error.get("ctx", {})
    if "tag" in context or isinstance(context.get("error"), str):
        return "this value cannot be taken"
    return str(error["msg"]).removeprefix("Value error, ")


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem document."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
        return problem_response(error, headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return problem_response(Problem(400, "malformed", "the body is not JSON"))
        field = _location(first["loc"], _declared(app))
        return problem_response(Problem(422, "invalid-field", _message(first), field=field))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        reason = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}.get(
            error.status_code, "http-error"
        )
        detail = "there is nothing at this path" if error.status_code == 404 else str(error.detail)
        return problem_response(Problem(error.status_code, reason, detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _defect(request: Request, error: Exception) -> JSONResponse:
        return problem_response(
            Problem(500, "internal", "this is our defect; nothing was taken, try again later")
        )


class _TooLarge(HTTPException):
    """An HTTPException, since FastAPI takes any other error in reading a body for a malformed one."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"a request body may have at most {limit} bytes")


class BodyLimit:
    """Refuse a body over the limit, whatever its Content-Length says, before it fills the memory.

    The routes at `aside` see to that by themselves (bodies.py).
    """

    def __init__(
        self, app: ASGIApp, limit: int = MAX_REQUEST_BYTES, aside: frozenset[str] = frozenset()
    ) -> None:
        self.app = app
        self.limit = limit
        self.aside = aside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.aside:
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.limit:
            error = _TooLarge(self.limit)
            await problem_response(Problem(413, "too-large", error.detail))(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.limit:
                raise _TooLarge(self.limit)
            return message

        await self.app(scope, counted, send)
