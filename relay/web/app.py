"""The web application: the house behind it, the routes before it, and every error in one shape."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware

from relay import logs
from relay.bootstrap import Relay, check_database, ensure_environment_credentials, open_relay
from relay.clock import Clock
from relay.domain.errors import BadSettings, Unreachable
from relay.settings import Settings, load
from relay.web import keysets, limits, numbers, waiting
from relay.web.dashboard.routes import routes as dashboard_routes
from relay.web.edge import Edge
from relay.web.problems import HANDLERS
from relay.web.reference.openapi import document
from relay.web.routes import OPEN_ROUTES, OPERATIONS, routes

RETRY_SECONDS = 2.0
CANCEL_SECONDS = 0.1

log = structlog.get_logger(__name__)


def create() -> Starlette:
    """The application by the environment, for `uvicorn --factory relay.web.app:create`. Raises BadSettings."""
    settings = load(needs_secret_key=True)
    logs.configure(settings.log_level)
    return create_app(settings)


def create_app(settings: Settings, clock: Clock | None = None) -> Starlette:
    """The application; its lifespan builds the house as `app.state.relay` and takes it down."""
    clock = clock or Clock()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_relay(settings, clock) as relay:
            app.state.relay = relay
            app.state.allowance = limits.make(relay.redis, settings.relay_api_requests_per_second)
            prepared = await _prepare(relay)
            tasks = [asyncio.create_task(work) for work in (numbers.publish(relay), waiting.recheck(relay))]
            if not prepared:
                tasks.append(asyncio.create_task(_prepare_later(relay)))
            try:
                yield
            finally:
                await _stop(tasks)

    app = Starlette(
        routes=[*routes(), *(dashboard_routes() if settings.relay_dashboard else ())],
        middleware=[Middleware(Edge, clock=clock)],
        exception_handlers=dict(HANDLERS),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirected POST loses its body with some clients; 404 says what is wrong
    app.state.public_url = settings.public_url
    app.state.published = keysets.Published()
    app.state.document = document(OPERATIONS, OPEN_ROUTES, settings.public_url)
    return app


async def _prepare(relay: Relay) -> bool:
    """
    False when the database does not answer yet: the process starts all the same, and says so at /readyz.

    Raises BadSettings when it answers and is not migrated, or when the environment's credentials are faulty.
    """
    try:
        await check_database(relay.store)
        await ensure_environment_credentials(relay)
    except Unreachable as error:
        log.warning("database_not_ready", reason=str(error))
        return False
    return True


async def _prepare_later(relay: Relay) -> None:
    is_prepared = False
    while not is_prepared:
        await relay.clock.sleep(RETRY_SECONDS)
        try:
            is_prepared = await _prepare(relay)
        except BadSettings as error:
            log.warning("not_prepared", faults=error.faults)  # requests are served as far as they can be meanwhile


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    # redis-py can swallow a cancellation that meets one of its own timeouts: ask until it is heard.
    while tasks:
        for task in tasks:
            task.cancel()
        _, left = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        tasks = list(left)
