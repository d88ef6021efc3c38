"""Writes to a store for some seconds as a busy process does; run by itself, it is that process."""

import asyncio
import sys
import time
from dataclasses import replace

from relay.store import Cipher, Ending, Store, open_store
from tests.databases import SECRET_KEY
from tests.store.facts import announcement, ended, event, job, record, registrations

BATCH = 20


async def hammer(store: Store, tenant: str, seconds: float) -> int:
    """Register, end and attempt in batches until the time is up; gives how many jobs went all the way."""
    until = time.monotonic() + seconds
    done = 0
    while time.monotonic() < until:
        names = [f"{tenant}_{done + number}" for number in range(BATCH)]
        jobs = [job(id=f"job_{name}", tenant=tenant, tracking=None) for name in names]
        told = [
            announcement(
                event(id=f"evt_{name}", tenant=tenant, job_id=one.id, ending_of=one.id), "sub_1", id=f"dlv_{name}"
            )
            for name, one in zip(names, jobs, strict=True)
        ]
        await store.register_jobs(registrations(*jobs))
        endings = [Ending(ended(one), each) for one, each in zip(jobs, told, strict=True)]
        assert len(await store.advance_jobs(endings)) == BATCH
        made = [record(each.deliveries[0]) for each in told]
        records = [
            replace(one, attempt=replace(one.attempt, id=f"att_{name}")) for one, name in zip(made, names, strict=True)
        ]
        assert len(await store.record_attempts(records)) == BATCH
        done += BATCH
    return done


async def main(url: str, tenant: str, seconds: float) -> None:
    store = open_store(url, Cipher([SECRET_KEY]))
    try:
        print(await hammer(store, tenant, seconds))
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
