"""Jobs of every kind, many with a fault of their service, through four workers.

`scripts/soak mixed` is the same for 10,000 jobs, with fewer faults among them.
"""

from pathlib import Path

import pytest

from tests.support.mixed import soak
from tests.support.mixed_jobs import Fault
from tests.support.mixed_stage import is_small_disk_possible

JOBS = 300
#: two rounds over all kinds: the fault stays, and it goes
SHARE = 0.04


async def test_every_job_ends_as_it_has_to_and_nothing_is_left(tmp_path: Path) -> None:
    found = await soak(JOBS, SHARE, tmp_path)
    assert found.faults == []
    assert sum(line.jobs for line in found.lines) == JOBS
    assert found.restarts > 0, "services have crashed"


@pytest.mark.skipif(not is_small_disk_possible(), reason="a small disk can't be mounted here to be filled: needs root")
async def test_a_job_that_fills_the_disk_harms_no_other(tmp_path: Path) -> None:
    found = await soak(60, 0.2, tmp_path, faults=[Fault.DISK_FULL])
    assert found.faults == []
    assert {line.fault for line in found.lines} == {"none", "disk_full, always", "disk_full, once"}
