"""The application: routes, guards, and the loop that drives rollouts while it runs."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from services.control_plane import problems
from services.control_plane.guards import RequestGuards
from services.control_plane.idempotency import KeptAnswers
from services.control_plane.parts import ControlPlaneParts
from services.control_plane.routes import ledger, models, people, platform, rollouts

TITLE: Final = "StreamRec control plane"
VERSION: Final = "1"
ROUTERS: Final = (models.router, people.router, rollouts.router, ledger.router, platform.router)
_STOP_WAIT_S: Final = 10.0


def create_app(parts: ControlPlaneParts, *, drives: bool = True) -> FastAPI:
    """Put the application together.

    Args:
        parts: What routes hand over to.
        drives: Whether it drives rollouts while it runs, as soon as nobody else does.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        driver = threading.Thread(
            target=parts.controller.run, args=(stop,), name="drive-rollouts", daemon=True
        )
        if drives:
            driver.start()
        try:
            yield
        finally:
            stop.set()
            if drives:
                await run_in_threadpool(driver.join, _STOP_WAIT_S)
            parts.close()

    responses = {
        status: {"model": problems.Problem, "content": {problems.PROBLEM_CONTENT_TYPE: {}}}
        for status in (401, 403, 404, 409, 422, 503)
    }
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description="Versions, their gates, reviews and rollouts, and who decided what.",
        lifespan=lifespan,
        responses=responses,  # type: ignore[arg-type]  # FastAPI takes numbers and names
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    answers = KeptAnswers(parts.workspace.control_plane / "answers.sqlite")
    app.add_middleware(RequestGuards, answers=answers)
    return app
