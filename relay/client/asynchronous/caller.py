"""Makes one call as often as it takes and is safe, and follows the pages of a list."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from relay.client import calls
from relay.client.calls import Ask
from relay.client.errors import NoAnswer
from relay.clock import Clock


class Caller:
    """What the resources of one client share."""

    def __init__(self, http: httpx.AsyncClient, timeout_seconds: float, tries_max: int, clock: Clock) -> None:
        self.http = http
        self.clock = clock
        self._timeout_seconds = timeout_seconds
        self._tries_max = tries_max

    async def call(self, ask: Ask) -> httpx.Response:
        """The answer to a call that succeeded. Raises ProblemError, NoAnswer."""
        request = calls.build(self.http, ask, self._timeout_seconds, self.clock)
        tries = 0
        while True:
            tries += 1
            is_last = tries >= self._tries_max
            try:
                response = await self.http.send(request)
            except httpx.TransportError as error:
                if is_last or not calls.may_pass(error):
                    raise NoAnswer(calls.reason_of(error), tries) from error
                pause_seconds = calls.pause_after_fault(tries, self.clock)
            else:
                pause = None if is_last else calls.pause_after(response, tries, self.clock)
                if pause is None:
                    calls.check(ask, response, tries, self.clock)
                    return response
                pause_seconds = pause
            await self.clock.sleep(pause_seconds)

    async def document(self, ask: Ask) -> Any:
        """The object that the answer is. Raises NotUnderstood as well."""
        return calls.document_of(await self.call(ask))

    async def items(
        self, path: str, query: Mapping[str, Any] | None = None, page_size: int = calls.PAGE_LIMIT
    ) -> AsyncIterator[Any]:
        """Every item of a list, a page at a time; without a query for a list that takes none, being short."""
        asked = {**query, "limit": page_size} if query is not None else {}
        while True:
            page = calls.page_of(await self.document(Ask("GET", path, asked)))
            for item in page["data"]:
                yield item
            if page["next_cursor"] is None:
                return
            asked = {**asked, "cursor": page["next_cursor"]}

    async def rest(self, asked_at: float) -> None:
        """Waits when a long poll that began at `asked_at` (monotonic) was not held back."""
        await self.clock.sleep(calls.LOOK_SECONDS_MIN - (self.clock.monotonic() - asked_at))
