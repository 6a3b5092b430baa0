"""The HTTP edge: routes, and nothing that decides anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ValidationError
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from services.recommendations.gateway.edge import problems
from services.recommendations.gateway.edge.api_page import render_api_page
from services.recommendations.gateway.edge.bodies import BodyLimits, BodyMiddleware, body_ms_of
from services.recommendations.gateway.edge.callers import describe_callers, install_callers
from services.recommendations.gateway.edge.deadlines import ArrivalMiddleware, DeadlineLimits, deadline_of
from services.recommendations.gateway.edge.json_bodies import read_json, to_model
from services.recommendations.gateway.edge.methods import MethodsMiddleware, allowed_methods
from services.recommendations.gateway.edge.shedding import Door, PlaceMiddleware, RefusalMiddleware
from services.recommendations.gateway.event_batches import events_of
from services.recommendations.gateway.readiness import Gateway, Startup
from services.recommendations.gateway.recommender import ServedAnswer
from services.recommendations.gateway.schemas import (
    MAXIMUM_BATCH_BYTES,
    MAXIMUM_REQUEST_BYTES,
    EventAnswer,
    EventBatch,
    Health,
    Readiness,
    RecommendationAnswer,
    RecommendationRequest,
)
from streamrec import __version__
from streamrec.callers.settings import CallerSettings
from streamrec.contracts.errors import InvalidInputError, TemporaryError
from streamrec.serving.admission import Admission
from streamrec.serving.deadline import Deadline
from streamrec.serving.load_control import LoadControl
from streamrec.serving.loop_lag import LoopLag

RECOMMENDATIONS_PATH: Final = "/v1/recommendations"
EVENTS_PATH: Final = "/v1/events"

_CLIENT_REQUEST_ID: Final = "x-client-request-id"
_HEADER_SAFE: Final = " !#$&'()*+,/:;<=>?@[]^`{|}~"
"""What a header may hold as it is, besides letters, digits and ``_.-~``; the rest is percent-encoded."""

_OWN_BODY_MS: Final = 50.0
"""A body of one piece is there with its request; the event loop takes less than this to come to it."""

_NOT_STORED_DETAIL: Final = "The event log cannot be written at the moment; send the events again."
_INCOMING: Final = (RecommendationRequest, EventBatch)
_OUTGOING: Final = (RecommendationAnswer, EventAnswer, Health, Readiness, problems.Problem)
_POST_PROBLEMS: Final = (
    problems.TOO_SLOW,
    problems.TOO_LARGE,
    problems.UNSUPPORTED_ENCODING,
    problems.INVALID_INPUT,
    problems.NOT_READY,
    problems.OVERLOADED,
)
_RECOMMENDATION_PROBLEMS: Final = (*_POST_PROBLEMS, problems.EXPIRED)


def create_app(
    startup: Startup,
    *,
    load: LoadControl | None = None,
    maximum_events_in_flight: int = 64,
    deadlines: DeadlineLimits | None = None,
    body_limits: BodyLimits | None = None,
    stand_before: Callable[[Callable[[ASGIApp], ASGIApp]], None] = lambda _wrap: None,
    callers: CallerSettings | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        startup: Holds the gateway once everything it needs is there, and until then what is missing.
        load: How many recommendation requests may be under way; more are refused with a 503. One whose body
            is still under way is not yet among them. It follows what is measured.
        maximum_events_in_flight: The same of event requests, which recommendations do not crowd out.
        deadlines: How long the caller of a recommendation request may say that it waits.
        body_limits: What a body may take.
        stand_before: Given what notes a request's arrival and refuses what is too much, to be put further out
            than this application reaches, where a server works on requests before it calls it.
        callers: Who may ask, and how often; by default everybody, at any rate.
    """

    deadlines = deadlines or DeadlineLimits()
    load = load or LoadControl()
    callers = callers or CallerSettings()
    lag = LoopLag()
    startup.metrics.watch_event_loop(lag.current_ms)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        lag.start()
        starting = asyncio.create_task(startup.run(), name="startup")
        if following is not None:
            following.start()
        # A further replica of a service that answers must not take requests that it would only refuse. One
        # that waits for a person to bring something says so.
        await startup.settled()
        yield
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await startup.close()
        if following is not None:
            await asyncio.to_thread(following.stop)
        lag.stop()

    app = FastAPI(
        title="StreamRec recommendations",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        lifespan=lifespan,
    )
    problems.install(app)
    taking_events = Admission(lambda: maximum_events_in_flight)
    startup.metrics.watch_load(load)
    doors = {
        RECOMMENDATIONS_PATH: Door(load.admission, startup.metrics.count_request_without_place),
        EVENTS_PATH: Door(taking_events, startup.metrics.count_events_without_place),
    }
    app.add_middleware(PlaceMiddleware, doors=doors)
    app.add_middleware(
        BodyMiddleware,
        limits=body_limits or BodyLimits(_maximum_body_bytes),
        on_refused=startup.metrics.count_refused_body,
    )
    unfinished: set[asyncio.Task[EventAnswer]] = set()

    async def to_the_end(accepting: Coroutine[Any, Any, EventAnswer]) -> EventAnswer:
        """Wait for it; a client that goes away meanwhile does not leave events on disk and not applied."""
        task = asyncio.create_task(accepting)
        unfinished.add(task)
        task.add_done_callback(unfinished.discard)
        return await asyncio.shield(task)

    def measure(request: Request, latency_ms: float) -> None:
        # A body that comes slowly says something of its sender, and nothing of the load.
        if body_ms_of(request.scope) <= _OWN_BODY_MS:
            load.done(latency_ms)

    def not_ready(kind: problems.Kind) -> Response:
        missing = problems.without_folders(startup.missing)
        return problems.problem_response(kind, missing, headers=problems.RETRY_AFTER)

    async def answer(
        handle: Callable[[Gateway], Awaitable[Response]],
    ) -> Response:
        gateway = startup.gateway
        if gateway is None:
            return not_ready(problems.NOT_READY)
        try:
            return await handle(gateway)
        except ValidationError as error:
            return problems.from_validation_error(error)
        except InvalidInputError as error:
            return problems.invalid_input(error.field, error.problem)

    @app.post(
        RECOMMENDATIONS_PATH,
        summary="Recommend items to a user",
        response_class=Response,
        responses={200: _described(RecommendationAnswer), **problems.responses(*_RECOMMENDATION_PROBLEMS)},
        openapi_extra=_request_body(RecommendationRequest) | {"parameters": [deadlines.as_parameter()]},
    )
    async def recommendations(request: Request) -> Response:
        async def handle(gateway: Gateway) -> Response:
            deadline = deadline_of(request.scope, deadlines.budget_ms(request.headers))
            asked = to_model(await read_json(request), RecommendationRequest)
            startup.metrics.observe_queue(deadline.elapsed_ms())
            if deadline.expired:
                # Nobody waits for it any more; to work on it would make the next one late too.
                measure(request, deadline.elapsed_ms())
                startup.metrics.count_expired()
                return problems.problem_response(
                    problems.EXPIRED, _expired(deadline), headers=problems.RETRY_AFTER
                )
            served = await gateway.recommender.recommend(asked, deadline)
            # What was waited for another process in vain is no sign that too much is asked of this one.
            measure(request, max(0.0, served.latency_ms - served.answer.in_vain_ms))
            return _json(_answer_document(served), _named_by_client(served.client_request_id))

        response = await answer(handle)
        if response.status_code != HTTPStatus.OK:
            # An answer is counted where its rung is known.
            spent_ms = deadline_of(request.scope, deadlines.default_ms).elapsed_ms()
            startup.metrics.observe_request(status=response.status_code, rung=None, latency_ms=spent_ms)
        return response

    @app.post(
        EVENTS_PATH,
        summary="Say what users did; acknowledged when it is on disk",
        response_class=Response,
        responses={
            200: _described(EventAnswer),
            **problems.responses(*_POST_PROBLEMS, problems.NOT_STORED),
        },
        openapi_extra=_request_body(EventBatch),
    )
    async def events(request: Request) -> Response:
        async def handle(gateway: Gateway) -> Response:
            batch = events_of(await read_json(request))
            try:
                receipt = await to_the_end(gateway.intake.accept(batch))
            except TemporaryError:
                # The reason may name files of this machine, which are nobody's business outside.
                return problems.problem_response(
                    problems.NOT_STORED, _NOT_STORED_DETAIL, headers=problems.RETRY_AFTER
                )
            return _json(receipt.model_dump())

        return await answer(handle)

    @app.get("/healthz", summary="Whether the process is alive", responses={200: _described(Health)})
    async def healthz() -> Response:
        return _json(Health().model_dump())

    @app.get(
        "/readyz",
        summary="Whether the service answers with its models",
        response_class=Response,
        responses={200: _described(Readiness), **problems.responses(problems.STARTING, problems.NOT_READY)},
    )
    async def readyz() -> Response:
        gateway = startup.gateway
        if gateway is None:
            kind = problems.NOT_READY if startup.blocked else problems.STARTING
            return not_ready(kind)
        return _json(_readiness_document(gateway.readiness()))

    @app.get("/metrics", summary="Metrics in the Prometheus text format", response_class=Response)
    async def metrics() -> Response:
        content, content_type = startup.metrics.render()
        return Response(content, media_type=content_type)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(render_api_page(app.openapi()))

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _openapi_document(app)
            describe_callers(app.openapi_schema, callers)
        return app.openapi_schema

    app.add_middleware(RefusalMiddleware, doors=doors)
    app.add_middleware(MethodsMiddleware, allowed=allowed_methods(app))
    following = install_callers(app, callers, startup.metrics.callers)
    app.add_middleware(ArrivalMiddleware, lag=lag)
    stand_before(lambda outer: ArrivalMiddleware(RefusalMiddleware(outer, doors), lag))
    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend the document
    return app


def _expired(deadline: Deadline) -> str:
    return (
        f"The request had {deadline.budget_ms:g} ms; it had come in whole, and to its turn, "
        f"{deadline.elapsed_ms():.0f} ms after its first byte."
    )


def _maximum_body_bytes(path: str) -> int:
    return MAXIMUM_BATCH_BYTES if path.rstrip("/") == EVENTS_PATH else MAXIMUM_REQUEST_BYTES


def _named_by_client(client_request_id: str | None) -> dict[str, str]:
    if client_request_id is None:
        return {}
    return {_CLIENT_REQUEST_ID: quote(client_request_id, safe=_HEADER_SAFE)}


def _json(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    # NaN is no JSON: an answer that holds one is an error here, not in the client.
    return Response(
        json.dumps(document, allow_nan=False, separators=(",", ":")).encode(),
        media_type="application/json",
        headers=headers,
    )


def _answer_document(served: ServedAnswer) -> dict[str, Any]:
    """`RecommendationAnswer` as plain data: 500 items through pydantic would cost a millisecond."""
    answer = served.answer
    return {
        "request_id": served.request_id,
        "client_request_id": served.client_request_id,
        "user_id": served.user_id,
        "items": [
            {"item_id": item_id, "position": position, "score": score}
            for position, (item_id, score) in enumerate(zip(answer.item_ids, answer.scores, strict=True))
        ],
        "rung": answer.rung.value,
        "degraded": answer.degraded,
        "skipped": list(answer.skipped),
        "effort": answer.effort.value,
        "in_full": answer.in_full,
        "empty_reason": answer.empty_reason,
        "page": served.page,
        "next_page_token": served.next_page_token,
        "cold_start": answer.cold_start,
        "model_versions": dict(answer.model_versions),
        "price_revision": answer.price_revision,
        "latency_ms": round(served.latency_ms, 3),
        "stages_ms": {stage: round(spent_ms, 3) for stage, spent_ms in answer.stages_ms.items()},
    }


def _readiness_document(readiness: Readiness) -> dict[str, Any]:
    """`Readiness` for outside: what parts of the service say of their files names no folder."""
    document = readiness.model_dump()
    document["item_log_problem"] = problems.without_folders(readiness.item_log_problem)
    document["problems"] = [problems.without_folders(problem) for problem in readiness.problems]
    return document


def _described(model: type[BaseModel]) -> dict[str, Any]:
    return {"description": (model.__doc__ or "").strip(), "content": _content(model)}


def _request_body(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": _content(model)}}


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


def _openapi_document(app: FastAPI) -> dict[str, Any]:
    """The document with the schemas that the routes refer to: the framework does not parse the bodies."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for models, mode in ((_INCOMING, "validation"), (_OUTGOING, "serialization")):
        for model in models:
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}", mode=mode)  # type: ignore[arg-type]
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
    return document
