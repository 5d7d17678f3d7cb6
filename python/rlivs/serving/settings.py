"""What a server may do and how much of it: typed, validated, safe where nothing is said."""

from __future__ import annotations

import ipaddress
import secrets
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rlivs.errors import InputError

MIB = 1024 * 1024


class ServeSettings(BaseModel):
    """Where a server listens, who may use it, and its limits. Sizes are bytes, times seconds.

    Clients may open files only under `roots` and addresses only at `hosts`; both are empty unless told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8000, ge=0, le=65535)
    token: str | None = Field(None, min_length=16, description="what clients send as `Authorization: Bearer`")

    # Sources that clients may name
    roots: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = Field((), description="cam.example.org, *.example.org, or * for any public host")
    schemes: tuple[str, ...] = ("https", "http", "rtsp")
    allow_private: bool = Field(False, description="also private and loopback addresses of allowed hosts")

    # Limits
    max_body: int = Field(64 * MIB, ge=1024)
    max_frame_bytes: int = Field(8 * MIB, ge=1024)
    max_frame_pixels: int = Field(4096 * 2304, ge=1)
    max_streams: int = Field(16, ge=1)
    max_listeners: int = Field(64, ge=1)
    max_questions: int = Field(8, ge=1, description="questions answered or waiting at one time")
    max_question_length: int = Field(2000, ge=1, description="in characters")
    question_timeout: float = Field(120.0, gt=0)
    body_timeout: float = Field(60.0, gt=0)
    video_timeout: float = Field(1800.0, gt=0, description="to caption the video of a chat completion")

    @field_validator("roots")
    @classmethod
    def _real_roots(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        for root in roots:
            if not root.is_dir():
                raise ValueError(f"{root} is no directory")
        return tuple(root.resolve() for root in roots)

    @field_validator("hosts")
    @classmethod
    def _lower_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host.strip().lower().rstrip(".").strip("[]") for host in hosts)

    @field_validator("schemes")
    @classmethod
    def _known_schemes(cls, schemes: tuple[str, ...]) -> tuple[str, ...]:
        for scheme in schemes:
            if scheme not in ("https", "http", "rtsp"):
                raise ValueError("clients can be allowed https, http and rtsp; give other sources on the command line")
        return schemes

    @staticmethod
    def is_loopback(host: str) -> bool:
        """Whether only this machine can reach a server on `host`."""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False

    def model_post_init(self, _context: Any) -> None:
        if not self.is_loopback(self.host) and self.token is None:
            raise ValueError(f"a server on {self.host} needs a token; set one of 16 characters or more")


def make_token() -> str:
    """A token nobody guesses: 256 random bits."""
    return secrets.token_urlsafe(32)


def make_settings(**options: Any) -> ServeSettings:
    """Validated settings from plain values. Raises InputError naming the option."""
    try:
        return ServeSettings(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"option '{name}': {message}" if name else message) from None
