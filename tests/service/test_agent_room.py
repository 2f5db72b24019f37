"""An agent without room for results: it takes no job, says why, and takes jobs again when there is room."""

from pathlib import Path

from structlog.testing import capture_logs

from tests.support.running_agent import Surroundings


def suspended(around: Surroundings, worker_id: str = "box") -> str:
    """Why the worker gets no jobs of the simulation."""
    worker = around.broker.workers.get(worker_id)
    return worker.suspended.get("simulation", "") if worker else ""


async def test_an_agent_on_a_full_disk_takes_no_job_and_says_why(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, free_bytes=1)
    async with around.agent():
        await around.until(lambda: "SPOOL_MIN_FREE_GB" in suspended(around), "it says why")
        job = around.broker.submit()
        await around.until(lambda: around.broker.count("heartbeat") > 3, "time passes")
        assert (job.state, around.broker.count("claim")) == ("pending", 0)

        around.free_bytes = 100 << 30
        await around.until(lambda: job.state == "completed", "there is room again")
        assert suspended(around) == ""


async def test_results_that_wait_stop_the_next_jobs_until_they_are_delivered(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    around.hub.away = True
    outputs = [{"name": "a.bin", "bytes": 2 << 20}]
    first, second = around.broker.submit(outputs=outputs), around.broker.submit(outputs=outputs)
    with capture_logs() as logs:
        async with around.agent(gpus=2, spool_max_gb=1 / 1024):
            await around.until(lambda: len(_kept(tmp_path)) == 2, "both are spooled")
            third = around.broker.submit()
            await around.until(lambda: "SPOOL_MAX_GB" in suspended(around, "box-1"), "told")
            assert (first.state, second.state, third.state) == ("active", "active", "pending")
            around.hub.away = False
            await around.until(lambda: third.state == "completed", "delivered, and on it goes")
    assert (first.state, second.state) == ("completed", "completed")
    said = [line["event"] for line in logs if line["event"] in {"spool.full", "spool.has_room"}]
    assert said == ["spool.full", "spool.has_room"]
    assert _kept(tmp_path) == []


def _kept(state_dir: Path) -> list[Path]:
    return list((state_dir / "spool").glob("*/outcome.json"))
