"""The least that a worker over a store can be.

One synchronous connection; one blocking pop to wait, one call that completes the last job and takes the next. No
matching, no leases, no checks.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis

from scripts.benchmarks.peers.calls import URL, noop, probe
from scripts.benchmarks.peers.launch import Client, in_chunks

LIBRARY = """#!lua name=minimal
redis.register_function('minimal_submit', function(keys, args)
  for at = 1, #args, 2 do
    redis.call('HSET', 'job:' .. args[at], 'state', 'pending', 'payload', args[at + 1])
    redis.call('RPUSH', 'queue', args[at])
  end
  if redis.call('LLEN', 'wake') == 0 then redis.call('RPUSH', 'wake', '1') end
end)
redis.register_function('minimal_step', function(keys, args)
  if args[1] ~= '' then redis.call('HSET', 'job:' .. args[1], 'state', 'completed') end
  local id = redis.call('LPOP', 'queue')
  if not id then return false end
  redis.call('HSET', 'job:' .. id, 'state', 'active')
  return {id, redis.call('HGET', 'job:' .. id, 'payload')}
end)
"""


def work() -> None:
    """The worker."""
    store: Any = redis.Redis.from_url(URL, protocol=2)
    while True:
        store.execute_command("BLMPOP", 0, 1, "wake", "LEFT", "COUNT", 100)
        last = b""
        while taken := store.execute_command("FCALL", "minimal_step", 0, last):
            last, payload = taken
            probe(int(payload)) if payload else noop()


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Its client."""
    store: Any = redis.Redis.from_url(URL, protocol=2)
    store.execute_command("FUNCTION", "LOAD", "REPLACE", LIBRARY)
    numbers = iter(range(10**9))

    async def enqueue(jobs: int) -> None:
        for chunk in in_chunks(jobs):
            arguments = [argument for _ in chunk for argument in (next(numbers), "")]
            store.execute_command("FCALL", "minimal_submit", 0, *arguments)

    async def submit(index: int) -> None:
        store.execute_command("FCALL", "minimal_submit", 0, next(numbers), index)

    yield Client(enqueue, submit)
