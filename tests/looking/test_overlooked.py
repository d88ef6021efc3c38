"""Whatever a list does, no job is kept waiting by rounds that do not come to it."""

import asyncio
import json
from itertools import pairwise
from typing import Any

from relay.domain.job import Memo
from relay.domain.moments import to_ms
from relay.domain.round import OVERLOOKED_SECONDS
from relay.schedule import Item
from tests.account_stub import HuaweiAccount, VocuAccount
from tests.looking.scenes import HUAWEI, VOCU, Enter, running
from tests.provider_stub import hex_id, uuid_id
from tests.receivers import Call, Wire
from tests.trips import until, working

SLOW_DOWN = (429, {"error_code": "APIGW.0308", "error_msg": "slow down"}, {"retry-after": "1"})


async def test_a_page_that_is_always_throttled_leaves_its_jobs_to_looks(swift_scene: Enter) -> None:
    account = running(150)
    account.end()
    account.refuse_list = lambda query: SLOW_DOWN if query["offset"] != "0" else None
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await here.ended(150, 30)
        assert len({one.job for one in account.looks}) == 50


async def test_a_list_that_is_always_throttled_leaves_all_jobs_to_looks(swift_scene: Enter) -> None:
    account = VocuAccount({uuid_id(number): {"status": "processing", "metadata": {}} for number in range(40)})
    account.end()
    account.refuse_list = lambda _: (429, {"status": 429, "code": "RATE_LIMIT_EXCEEDED"}, {"retry-after": "1"})
    async with swift_scene(account, VOCU) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await here.ended(40, 30)


async def test_a_list_that_gives_one_page_at_a_time_is_read_on_where_it_stopped(swift_scene: Enter) -> None:
    account = running(350)
    answered = 0

    def one_of_two(_query: Any) -> Any:
        nonlocal answered
        answered += 1
        return SLOW_DOWN if answered % 2 == 0 else None

    account.refuse_list = one_of_two
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        account.end()
        async with working(here.relay):
            await here.ended(350, 40)
        assert not account.looks


async def test_a_list_too_long_for_one_round_is_read_on_by_the_next_and_from_its_beginning_again(
    swift_scene: Enter,
) -> None:
    account = running(450)
    account.seconds = 0.1
    async with swift_scene(account) as here:
        here.relay.poll._rounds._round_seconds_max = 0.15  # two pages of the five
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: len(account.pages) >= 12)
            asked = [int(one.query["offset"]) for one in account.pages[:11]]
            account.end()
            await here.ended(450)
        assert not account.looks
        after = [following for offset, following in pairwise(asked) if offset == 0]
        assert set(after) == {100}
        assert set(asked) == {0, 100, 200, 300, 400}
        assert all(one.query["offset"] != "0" for one in account.pages[1:4])


async def test_an_unknown_word_in_a_list_is_settled_by_a_look(swift_scene: Enter) -> None:
    class OtherWords(HuaweiAccount):
        def item(self, job: str, told: dict[str, Any]) -> dict[str, Any]:
            return {**super().item(job, told), "job_state": "FINISHED"}

    account = OtherWords({hex_id(number): {"state": "PROCESSING"} for number in range(1, 31)})
    async with swift_scene(account) as here:
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await until(lambda: account.pages)
            account.end()
            await here.ended(30)
        assert {one.job for one in account.looks} == set(account.jobs)


async def test_a_list_that_cannot_be_asked_for_costs_no_job_its_look(swift_scene: Enter) -> None:
    account = running(20)
    account.end()
    async with swift_scene(account) as here:
        definition = here.relay.catalog.get(here.provider)
        assert definition is not None
        assert definition.listing is not None
        listing = definition.listing.model_copy(update={"items": None})  # no expression: whoever asks it raises
        broken = definition.model_copy(update={"listing": listing})
        here.relay.catalog._definitions[here.provider] = broken
        await here.watch(list(account.jobs))
        async with working(here.relay):
            await here.ended(20)
        assert {one.job for one in account.looks} == set(account.jobs)


async def test_a_job_that_rounds_have_kept_waiting_for_long_is_looked_at_while_the_next_one_hangs(
    swift_scene: Enter,
) -> None:
    released = asyncio.Event()

    class Hanging(HuaweiAccount):
        async def __call__(self, call: Call, wire: Wire) -> None:
            is_list, job = self.route(call.target.partition("?")[0])
            if is_list:
                await released.wait()
                await wire.respond(200, {"content-type": "application/json"}, json.dumps({"data": []}).encode())
                return
            await super().__call__(call, wire)
            assert job in self.jobs

    account = Hanging({hex_id(number): {"state": "PROCESSING"} for number in range(1, 11)})
    account.end()
    async with swift_scene(account, HUAWEI) as here:
        ids = await here.watch(list(account.jobs))
        since_ms = to_ms(here.relay.clock.now()) - round(OVERLOOKED_SECONDS * 1000) - 1
        memo = Memo(sought_ms=since_ms).dump()
        await here.relay.polls.shift([Item(here.credential_id, ids[3], 500, memo)])
        async with working(here.relay):
            await here.ended(1)
            assert {one.job for one in account.looks} == {list(account.jobs)[3]}
            released.set()
            await here.ended(10)
