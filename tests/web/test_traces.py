"""A caller's W3C trace goes on in the webhooks of the job that it registered."""

from collections.abc import Sequence

from tests.deliver.posts import BRISK
from tests.provider_stub import CREDENTIALS, Providers, camb, stub
from tests.receivers import Call, Receiver, answering
from tests.trips import SECRET, until, verified, working
from tests.web.house import opened, told

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def traces(calls: list[Call]) -> dict[str, list[tuple[str, str]]]:
    """The trace and the span of each call, by the provider's id of the job that it tells of."""
    read: dict[str, list[tuple[str, str]]] = {}
    for call in calls:
        version, trace, span, flags = str(call.header("traceparent")).split("-")
        assert (version, flags, len(trace), len(span)) == ("00", "01", 32, 16)
        read.setdefault(verified(call)["data"]["provider_job_id"], []).append((trace, span))
    return read


def has_twice(calls: list[Call], names: Sequence[str]) -> bool:
    """Whether each of the jobs has been told of twice."""
    told_of = traces(calls)
    return all(len(told_of.get(name, ())) >= 2 for name in names)


async def test_the_webhooks_of_a_job_go_on_with_the_trace_that_registered_it(database_url: str, redis_url: str) -> None:
    names = ("single", "batched", "known", "untraced")
    providers = Providers({name: [camb("SUCCESS", run_id=5)] for name in names})
    async with (
        opened(database_url, redis_url, **BRISK) as house,
        stub(providers) as server,
        Receiver(answering(500)) as inbox,
    ):
        await house.add_credential(secrets=CREDENTIALS["camb"]["secrets"], base_url=server.url(""))
        await house.add_subscription(inbox.url(), secret=SECRET)
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        jobs = {name: {"provider": "camb", "provider_job_id": name} for name in names}
        told(await house.api.post("/v1/jobs", json=jobs["single"], headers=headers), 201)
        told(await house.api.post("/v1/jobs/batch", json={"jobs": [jobs["batched"]]}, headers=headers))
        told(await house.api.post("/v1/jobs", json=jobs["known"], headers=headers), 201)
        again = {"traceparent": f"00-{'a' * 32}-{PARENT}-01"}
        told(await house.api.post("/v1/jobs", json=jobs["known"], headers=again), 200)
        told(await house.api.post("/v1/jobs", json=jobs["untraced"]), 201)
        async with working(house.relay):
            await until(lambda: has_twice(inbox.calls, names))
        made = traces(inbox.calls)
        for name in ("single", "batched", "known"):
            assert {trace for trace, _ in made[name]} == {TRACE}, name
        (own,) = {trace for trace, _ in made["untraced"]}
        assert own != TRACE
        spans = [span for told_of in made.values() for _, span in told_of]
        assert len(set(spans)) == len(spans)
        assert PARENT not in spans
