"""How long from the provider's terminal answer to the receiver's first byte, through real processes on one machine."""

# Jobs are registered one after another on an otherwise idle host, so that each is alone on its way:
#
#     python -m bench latency > bench/results/latency.txt

import asyncio
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from relay.embedded import EmbeddedRedis
from tests.hosts import hosting, made
from tests.provider_stub import CREDENTIALS, Providers, camb, stub
from tests.receivers import Call, Receiver, Wire

JOBS = 300
GAP_SECONDS = 0.05


@dataclass
class Timed(Providers):
    """Notes when each job's terminal answer goes out."""

    answered: dict[str, float] = field(default_factory=dict)

    async def _look(self, provider: str, job: str, call: Call, wire: Wire) -> None:
        self.answered[job] = time.perf_counter()
        await super()._look(provider, job, call, wire)


async def measure(folder: Path, database_url: str, redis_url: str) -> list[float]:
    """Milliseconds for each job."""
    providers = Timed({f"c-{number}": [camb("TIMEOUT")] for number in range(JOBS)})
    delays: list[float] = []
    done = asyncio.Event()

    async def receive(call: Call, wire: Wire) -> None:
        now = time.perf_counter()
        job = json.loads(call.body)["data"]["provider_job_id"]
        delays.append((now - providers.answered[job]) * 1000)
        await wire.respond(204)
        if len(delays) == JOBS:
            done.set()

    async with (
        stub(providers) as server,
        Receiver(receive) as inbox,
        hosting(folder, database_url, redis_url) as host,
        host.client() as client,
    ):
        limits = {"max_requests_per_second": 300, "max_concurrency": 60}
        body = {"name": "main", "provider": "camb", "base_url": server.url(""), **limits, **CREDENTIALS["camb"]}
        await made(client, "/v1/credentials", body)
        await made(client, "/v1/subscriptions", {"url": inbox.url()})
        for number in range(JOBS):
            await made(client, "/v1/jobs", {"provider": "camb", "provider_job_id": f"c-{number}"})
            await asyncio.sleep(GAP_SECONDS)
        await asyncio.wait_for(done.wait(), 60)
    return sorted(delays)


def main() -> None:
    databases = {"SQLite": None, "PostgreSQL": os.environ.get("TEST_DATABASE_URL")}
    print(f"{JOBS} jobs, one after another; from the terminal answer to the first byte at the receiver, milliseconds")
    for name, url in databases.items():
        if name == "PostgreSQL" and not url:
            continue
        with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as redis:
            database_url = url or f"sqlite:///{folder}/relay.db"
            delays = asyncio.run(measure(Path(folder), database_url, redis.url))
        p50, p99 = statistics.median(delays), delays[int(len(delays) * 0.99) - 1]
        print(f"  {name:<11} p50 {p50:6.1f}   p99 {p99:6.1f}   max {delays[-1]:6.1f}")


if __name__ == "__main__":
    main()
