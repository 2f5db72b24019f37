"""Priority first, then first come; exact, and kept."""

import pytest

from shared.errors import Invalid
from tests.support.broker import POOL, Broker


async def drain(broker: Broker, worker_id: str = "a") -> list[str]:
    """Ids of all jobs the worker can take, in the order it gets them."""
    order = []
    while claimed := await broker.claim(worker_id):
        order.append(claimed.job_id)
        await broker.complete(claimed)
    return order


async def test_higher_priority_first_then_first_come(broker: Broker) -> None:
    await broker.join()
    low = [await broker.submit(priority=10) for _ in range(3)]
    high = [await broker.submit(priority=1000) for _ in range(3)]
    lowest = await broker.submit(priority=0)
    assert await drain(broker) == [*high, *low, lowest]


async def test_order_holds_across_classes(broker: Broker) -> None:
    await broker.join(ram_gb=64)
    ids = [await broker.submit(requires={"ram_gb": n % 5}) for n in range(20)]
    assert await drain(broker) == ids


async def test_the_hundred_and_first_job_is_found_behind_a_hundred_foreign_ones(broker: Broker) -> None:
    await broker.join(ram_gb=8)
    await broker.join("big", ram_gb=512)
    for _ in range(100):
        await broker.submit(requires={"ram_gb": 256}, priority=900)
    wanted = await broker.submit(requires={"ram_gb": 8})
    assert (await broker.must_claim("a")).job_id == wanted


@pytest.mark.parametrize("foreign", [40, 300])
async def test_the_first_feasible_class_is_found_behind_many_foreign_classes(broker: Broker, foreign: int) -> None:
    """More classes than the walk looks at, all of them workable for another worker."""
    await broker.join(ram_gb=8)
    await broker.join("big", ram_gb=100_000)
    await broker.jobs.submit(POOL, [broker.job(requires={"ram_gb": 100 + n}, priority=900) for n in range(foreign)])
    ids = [await broker.submit(requires={"ram_gb": 1 + n}) for n in range(5)]
    assert await drain(broker, "a") == ids
    assert await broker.claim("a") is None
    assert len(await drain(broker, "big")) == foreign


async def test_the_index_of_feasible_classes_follows_claims_of_others(broker: Broker) -> None:
    await broker.join("a", ram_gb=8)
    await broker.join("c", ram_gb=8, disk_gb=1)
    await broker.join("big", ram_gb=100_000)
    await broker.jobs.submit(POOL, [broker.job(requires={"ram_gb": 100 + n}, priority=900) for n in range(50)])
    ids = [await broker.submit(requires={"ram_gb": 1 + n % 3}) for n in range(30)]
    taken = []
    for turn in range(30):
        worker = "ac"[turn % 2]
        claimed = await broker.must_claim(worker)
        taken.append(claimed.job_id)
        await broker.complete(claimed)
    assert taken == ids


async def test_a_job_in_front_of_a_known_class_is_seen(broker: Broker) -> None:
    await broker.join("a", ram_gb=8)
    await broker.join("big", ram_gb=100_000)
    await broker.jobs.submit(POOL, [broker.job(requires={"ram_gb": 100 + n}, priority=900) for n in range(50)])
    one = await broker.submit(requires={"ram_gb": 1})
    two = await broker.submit(requires={"ram_gb": 2})
    claimed = await broker.must_claim("a")
    assert claimed.job_id == one
    await broker.complete(claimed)
    urgent = await broker.submit(requires={"ram_gb": 1}, priority=60)
    assert await drain(broker, "a") == [urgent, two]


async def test_later_steps_take_the_workflows_place(broker: Broker) -> None:
    await broker.join()
    first = await broker.submit(workflow={"id": "w", "step": 1})
    others = [await broker.submit() for _ in range(3)]
    third = await broker.submit(workflow={"id": "w", "step": 3})
    second = await broker.submit(workflow={"id": "w", "step": 2})
    second_too = await broker.submit(workflow={"id": "w", "step": 2})
    assert await drain(broker) == [first, second, second_too, third, *others]


async def test_every_index_lists_newest_first_and_pages_by_cursor(broker: Broker) -> None:
    from shared.store.jobs import JobFilter

    ids = [await broker.submit(customer_id="acme", labels={"n": str(n % 2)}) for n in range(7)]
    await broker.submit(customer_id="other")
    page = await broker.jobs.list(POOL, JobFilter(customer_id="acme"), cursor=None, limit=4)
    assert [job.id for job in page.items] == ids[:2:-1]
    rest = await broker.jobs.list(POOL, JobFilter(customer_id="acme"), cursor=page.next_cursor, limit=4)
    assert [job.id for job in rest.items] == ids[2::-1]
    assert rest.next_cursor is None
    odd = await broker.jobs.list(POOL, JobFilter(label="n:1", state="pending"), cursor=None, limit=100)
    assert [job.id for job in odd.items] == ids[5::-2]


async def test_steps_of_one_workflow_go_by_step_also_when_they_ask_for_different_things(broker: Broker) -> None:
    await broker.join(ram_gb=64)
    steps = {}
    for step, ram_gb in ((3, 5), (1, 3), (4, 8), (2, 2)):
        steps[step] = await broker.submit(requires={"ram_gb": ram_gb}, workflow={"id": "w", "step": step})
    for step in (1, 2, 3, 4):
        claimed = await broker.must_claim()
        assert claimed.job_id == steps[step]
        await broker.complete(claimed)


async def test_a_step_without_a_priority_takes_the_workflows(broker: Broker) -> None:
    await broker.join()
    workflow = {"id": "w"}
    first = await broker.submit(priority=80, workflow=workflow | {"step": 1})
    other = await broker.submit(priority=70)
    step = await broker.submit(priority=None, workflow=workflow | {"step": 2})
    assert (await broker.jobs.get(step)).priority == 80
    for wanted in (first, step, other):
        claimed = await broker.must_claim()
        assert claimed.job_id == wanted
        await broker.complete(claimed)


async def test_a_batch_whose_steps_differ_in_priority_is_refused_whole(broker: Broker) -> None:
    batch = [broker.job(priority=None, workflow={"id": "w"}), broker.job(priority=80, workflow={"id": "w", "step": 2})]
    with pytest.raises(Invalid) as refusal:
        await broker.jobs.submit(POOL, batch)
    assert refusal.value.code == "workflow_priority"
    assert await broker.keys() == []
