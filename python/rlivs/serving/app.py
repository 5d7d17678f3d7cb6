"""The application: routes, guard, errors, the page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from rlivs.errors import InputError
from rlivs.serving import chat_routes, stream_routes
from rlivs.serving.farewell import Farewell
from rlivs.serving.films import Films
from rlivs.serving.guard import Guard
from rlivs.serving.measured import Measured
from rlivs.serving.metrics import Metrics
from rlivs.serving.picture_book import Past, PictureBook
from rlivs.serving.refusals import Refusal, error_body
from rlivs.serving.schemas import Health
from rlivs.serving.served import Served
from rlivs.serving.service import Service
from rlivs.serving.settings import ServeSettings
from rlivs.serving.sources import SourceDoor

PAGE = Path(__file__).parent / "page"


def create_app(
    service: Service,
    settings: ServeSettings | None = None,
    *,
    model: str = "rlivs",
    count_tokens: Callable[[str], int] | None = None,
    door: SourceDoor | None = None,
    past: Past | None = None,
) -> FastAPI:
    """The server of `service` as an ASGI application; the service stays its maker's to close.

    model: its name in `/v1/models`; count_tokens: of a text by the model's tokenizer, for `usage`; door: opens the
    sources that clients name (default: within `settings`); past: pictures of clips that are not kept.
    """
    settings = settings or ServeSettings()
    metrics = Metrics(service)
    pictures = PictureBook(service, past)
    door = door or SourceDoor(settings)
    films = Films(service, settings, door)
    shared = Served(
        service=service,
        settings=settings,
        door=door,
        metrics=metrics,
        pictures=pictures,
        films=films,
        model=model,
        count_tokens=count_tokens,
        questions=BoundedSemaphore(settings.max_questions),
        listeners=BoundedSemaphore(settings.max_listeners),
        pushes=BoundedSemaphore(settings.max_streams),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        films.close()
        pictures.close()
        door.close()

    app = FastAPI(
        title="rlivs serve",
        version="1",
        description="Questions about streaming video.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.served = shared
    app.include_router(stream_routes.router)
    app.include_router(chat_routes.router)
    _add_plain_routes(app, shared)
    _add_errors(app)
    app.add_middleware(Farewell, stopping=shared.stopping)
    app.add_middleware(Measured, metrics=metrics)
    app.add_middleware(Guard, settings=settings)
    return app


def _add_plain_routes(app: FastAPI, shared: Served) -> None:
    @app.get("/healthz", tags=["server"])
    def healthz() -> Health:
        """Whether the server answers; `instance` differs after each start."""
        shared.service.streams()
        return Health(status="ok", instance=shared.instance)

    @app.get("/metrics", tags=["server"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(shared.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> FileResponse:
        return FileResponse(PAGE / "icon.svg", media_type="image/svg+xml")

    app.mount("/page", _Page(directory=PAGE), name="page")


class _Page(StaticFiles):
    """The page's files, asked for anew each time: a server that was updated never meets an old script."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["cache-control"] = "no-cache"
        return response


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(InputError)
    async def refused(_request: Request, error: InputError) -> JSONResponse:
        status, code = (error.status, error.code) if isinstance(error, Refusal) else (400, None)
        return JSONResponse(error_body(str(error), status, code), status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        message = f"{place}: {first['msg']}" if place else str(first["msg"])
        return JSONResponse(error_body(message, 422, "invalid", place or None), 422)

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(error_body(str(error.detail), error.status_code), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse(error_body("the server failed; its log says why", 500), 500)
