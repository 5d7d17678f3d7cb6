"""The errors a client is told, as the OpenAI API words them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from rlivs.errors import InputError


class Refusal(InputError):
    """A request that is not served: one line that says why, and its HTTP status."""

    def __init__(self, message: str, status: int = 403, code: str = "refused") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """`{"error": {"message", "type", "param", "code"}}`, on every route."""

    error: ErrorDetail


def error_body(message: str, status: int, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The JSON of an error; `type` follows from the status."""
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return ErrorBody(error=ErrorDetail(message=message, type=kind, param=param, code=code)).model_dump()


def unknown_stream(name: str) -> Refusal:
    return Refusal(f"there is no stream '{name}'; create it with POST /api/streams", 404, "unknown_stream")
