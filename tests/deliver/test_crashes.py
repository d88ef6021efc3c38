"""Workers side by side, workers that die, and a Redis that forgets: each attempt is made, and no more than that."""

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from relay.bootstrap import Relay, open_relay
from relay.domain.delivery import DeliveryStatus
from relay.embedded import EmbeddedRedis
from relay.store import migrate
from tests.deliver.posts import BRISK, all_ended, attempts, delivering, ended, event_ids, post, subscribe, written
from tests.hosts import hosting, made
from tests.receivers import Call, Receiver, Wire, answering, in_turn, slow
from tests.trips import TENANT, living, settings_for, until


async def test_two_workers_make_one_attempt_of_one_delivery(database_url: str, redis_url: str) -> None:
    """D16."""
    async with (
        living(database_url, redis_url) as one,
        open_relay(one.settings) as other,
        Receiver(slow(0.05, answering(200))) as inbox,
    ):
        subscriptions = [await subscribe(one, inbox) for _ in range(5)]
        async with delivering(one, other, one, other):
            deliveries = [await post(one, subscription) for _ in range(20) for subscription in subscriptions]
            await one.announcer.put_deliveries(deliveries)  # as a sweep does that knows no better
            await all_ended(one, 100)
        assert len(inbox.calls) == len(set(event_ids(inbox.calls))) == 100
        for delivery in deliveries:
            assert len(await one.store.list_attempts(TENANT, delivery.id)) == 1


async def test_an_attempt_under_way_keeps_its_lease_however_long_it_takes(database_url: str, redis_url: str) -> None:
    """D16: longer than a lease."""
    async with (
        living(database_url, redis_url) as one,
        open_relay(one.settings) as other,
        Receiver(slow(7.0, answering(200))) as inbox,
    ):
        delivery = await post(one, await subscribe(one, inbox))
        async with delivering(one, other):
            await ended(one, delivery)
        assert len(inbox.calls) == 1


async def test_a_worker_killed_between_send_and_record_costs_one_more_attempt_with_the_same_id(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    """D17."""
    arrived = asyncio.Event()

    async def deadly(_: Call, wire: Wire) -> None:
        arrived.set()
        await wire.reader.read()
        wire.close()

    async with (
        Receiver(in_turn(deadly, answering(200))) as inbox,
        hosting(tmp_path, database_url, redis_url) as host,
        host.client() as client,
    ):
        subscription = await made(client, "/v1/subscriptions", {"url": inbox.url()})
        delivery = await made(client, f"/v1/subscriptions/{subscription['id']}/test", {}, 202)
        await asyncio.wait_for(arrived.wait(), 30)
        host.kill("worker0")
        host.start("worker1", "worker")

        async def is_delivered() -> bool:
            told = (await client.get(f"/v1/deliveries/{delivery['id']}")).json()
            return bool(told["status"] == "succeeded" and told["attempts_made"] == 1)

        await until(is_delivered, 60)
        assert len(inbox.calls) == 2
        assert len(set(event_ids(inbox.calls))) == 1


async def test_what_was_never_put_on_the_schedule_is_found_by_the_sweep(database_url: str, redis_url: str) -> None:
    """D18."""
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        subscription = await subscribe(relay, inbox)
        lost = [(await written(relay, subscription)).deliveries[0] for _ in range(20)]
        async with delivering(relay):
            await all_ended(relay, 20)
        assert sorted(event_ids(inbox.calls)) == sorted(one.event_id for one in lost)


async def test_a_redis_that_is_flushed_in_the_middle_loses_no_delivery_and_no_retry(
    database_url: str, redis_url: str, redis: Redis
) -> None:
    """D19."""
    flaky = in_turn(*[answering(500)] * 60, answering(200))
    async with living(database_url, redis_url, RELAY_RETRY_SCHEDULE="1,1,1,1") as relay, Receiver(flaky) as inbox:
        subscription = await subscribe(relay, inbox)
        posted = [await post(relay, subscription) for _ in range(60)]
        async with delivering(relay):
            for count in (30, 60):
                await until(lambda count=count: len(inbox.calls) >= count)
                await redis.flushall()
            await all_ended(relay, 60)
        assert set(event_ids(inbox.calls)) == {one.event_id for one in posted}


async def test_a_redis_that_is_restarted_in_the_middle_is_outlived(database_url: str, tmp_path: Path) -> None:
    """D19: it comes back empty, and as another run."""
    await migrate(database_url)
    folder = tmp_path / "redis"
    server = EmbeddedRedis(folder)
    server.start()
    try:
        settings = settings_for(database_url, server.url, **BRISK)
        async with open_relay(settings) as relay, Receiver(slow(0.02, answering(200))) as inbox:
            subscription = await subscribe(relay, inbox, max_in_flight=4)
            async with delivering(relay, sweeps=False):
                sweeping = asyncio.create_task(sweep_through(relay))
                posted = [await post(relay, subscription) for _ in range(100)]
                await inbox.heard(20)
                server.stop()
                server = EmbeddedRedis(folder)
                server.start()
                await all_ended(relay, 100, within_seconds=60)
                sweeping.cancel()
            assert set(event_ids(inbox.calls)) == {one.event_id for one in posted}
    finally:
        server.stop()


async def sweep_through(relay: Relay) -> None:
    """Sweeps until it is cancelled, as the cron of many workers does: what fails is tried again."""
    while True:
        try:
            await relay.sweep.tick()
        except Exception:  # noqa: BLE001  Redis is away for a while
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)


async def test_a_clock_that_jumps_back_delays_no_delivery(database_url: str, redis_url: str) -> None:
    """Due times are Redis's own, and a hold that a stepped clock makes endless is none."""
    async with living(database_url, redis_url) as relay, Receiver(answering(200)) as inbox:
        ahead = relay.clock.now().replace(year=relay.clock.now().year + 1)
        subscription = await subscribe(relay, inbox, hold_until=ahead)
        delivery = await post(relay, subscription)
        async with delivering(relay):
            await ended(relay, delivery)
        assert (await attempts(relay, delivery))[0].answer.answer == "success"
        assert (await relay.store.count_deliveries(TENANT)) == {DeliveryStatus.SUCCEEDED: 1}
