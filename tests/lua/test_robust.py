"""Nothing a caller or a damaged key can do stops the broker."""

import pytest
from redis.exceptions import ResponseError

from shared.errors import Bug
from shared.store.job_rows import read_record
from shared.store.keys import known
from shared.wire.states import NEXT_STATES, JobState
from tests.support.broker import Broker

#: function → the numbers of arguments it takes: least, and the size of the groups that may follow
ARITY = {
    "submit": (1, 7),
    "check": (1, 4),
    "register": (4, 7),
    "deregister": (1, 0),
    "suspect": (2, 0),
    "command": (2, 0),
    "claim": (2, 0),
    "next": (3, 0),
    "heartbeat": (3, 6),
    "progress": (4, 0),
    "complete": (4, 0),
    "fail": (6, 0),
    "release": (3, 0),
    "suspend": (3, 0),
    "lift": (2, 0),
    "cancel": (1, 0),
    "retry": (2, 0),
    "prioritize": (2, 0),
    "pause": (1, 0),
    "resume": (1, 0),
    "sweep": (0, 0),
    "settings": (0, 2),
    "version": (0, 0),
    "match": (5, 0),
    "explain": (4, 0),
    "explain_worker": (2, 0),
    "position": (2, 1),
}


async def test_every_function_has_its_arity_here(broker: Broker) -> None:
    listed = await broker.store.client.execute_command("FUNCTION", "LIST", "LIBRARYNAME", "muster")
    functions = listed[0][listed[0].index(b"functions") + 1]
    names = {function[function.index(b"name") + 1].decode() for function in functions}
    assert names == {f"muster_{name}" for name in ARITY}


@pytest.mark.parametrize("function", ARITY)
async def test_a_wrong_number_of_arguments_is_answered(broker: Broker, function: str) -> None:
    least, step = ARITY[function]
    for count in range(least + 9):
        if count >= least and ((count - least) % step == 0 if step else count == least):
            continue
        with pytest.raises(Bug, match="takes"):
            await broker.store.call(function, "default", *["x"] * count)


@pytest.mark.parametrize("key", ["nonsense", "muster:default:seq", "muster:{A B}:seq"])
async def test_a_key_that_is_no_pools_is_answered(broker: Broker, key: str) -> None:
    answer = await broker.store.client.execute_command("FCALL", "muster_sweep", 1, key)
    assert answer[0] == b"USAGE"


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xc1", b"\x91\xa7pending", b"\x90", b"\x80", "list"])
async def test_a_damaged_job_is_set_aside_and_the_next_is_claimed(broker: Broker, damage: bytes | str) -> None:
    await broker.join()
    damaged = await broker.submit()
    sound = await broker.submit()
    key = f"muster:{{default}}:job:{damaged}"
    await broker.store.client.delete(key)
    if isinstance(damage, bytes):
        await broker.store.client.set(key, damage)
    else:
        await broker.store.client.rpush(key, "x")
    assert (await broker.must_claim()).job_id == sound
    aside = await broker.jobs.get(damaged)
    assert (aside.state, aside.failure_class) == (JobState.FAILED, "bad_input")


async def test_a_job_whose_record_is_gone_does_not_stop_claims(broker: Broker) -> None:
    await broker.join()
    gone = [await broker.submit() for _ in range(25)]
    sound = await broker.submit()
    await broker.store.client.delete(*[f"muster:{{default}}:job:{job_id}" for job_id in gone])
    assert (await broker.must_claim()).job_id == sound


async def test_an_unknown_failure_class_is_refused(broker: Broker) -> None:
    await broker.join()
    await broker.submit()
    claimed = await broker.must_claim()
    with pytest.raises(Bug):
        await broker.fail(claimed, "vexed")


async def test_every_key_is_in_the_catalogue(broker: Broker) -> None:
    await broker.join("a", ram_gb=8)
    await broker.join("big", ram_gb=100_000)
    for n in range(40):
        await broker.submit(requires={"ram_gb": 100 + n}, customer_id="c", workflow={"id": "w"})
    await broker.submit(idempotency_key="k", customer_id="c", requires={"ram_gb": 1})
    await broker.submit(delay_s=5, expires_in_s=50)
    await broker.submit(requires={"ram_gb": 10**9})
    claimed = await broker.must_claim("a")
    await broker.beat([claimed], progress=b"{}")
    await broker.claim("a")
    await broker.complete(claimed)
    await broker.claim("a")
    await broker.fail(await broker.must_claim("big"))
    unknown = [key for key in await broker.keys() if not known(key)]
    assert unknown == []


async def test_the_library_knows_the_same_transitions_as_the_wire(broker: Broker) -> None:
    """The table in 50_jobs.lua, read back through a function that shows it."""
    from shared.store.library import join

    probe = """
    redis.register_function('probe', function(keys, args)
      local list = {}
      for state in pairs(jobs.next_states[args[1]]) do list[#list + 1] = state end
      return list
    end)"""
    await broker.store.client.execute_command("FUNCTION", "LOAD", "REPLACE", join().text + probe)
    for state in JobState:
        answer = await broker.store.client.execute_command("FCALL", "probe", 0, state)
        assert {word.decode() for word in answer} == set(NEXT_STATES[state])


async def test_the_store_refuses_a_library_that_does_not_compile(broker: Broker) -> None:
    with pytest.raises((Bug, ResponseError)):
        await broker.store.load_library("#!lua name=muster\nthis is no lua")


async def test_a_damaged_class_does_not_stop_claims_of_others(broker: Broker) -> None:
    await broker.join()
    damaged = await broker.submit(requires={"ram_gb": {"exists": False}})
    sound = await broker.submit()
    name = (await read_record(broker.store, "default", damaged)).job_class
    await broker.store.client.hset(f"muster:{{default}}:class:{name}", "requirement", "{nonsense")
    await broker.store.client.execute_command("FUNCTION", "FLUSH")  # and with it what was remembered
    await broker.reload()
    assert (await broker.must_claim()).job_id == sound
