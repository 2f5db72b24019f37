"""A kill -9 at every single step between a job's claim and the store's answer to its outcome."""

import json
import subprocess
import sys
from pathlib import Path

from agent.journal import Journal
from agent.spool import Spool


def test_an_outcome_is_whole_or_gone_whenever_the_agent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.spool_victim", str(tmp_path)]
    lives = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    seen: list[tuple[bool, int]] = []
    for life in map(json.loads, lives):
        spool = Spool(tmp_path / str(life["step"]) / "spool")
        found = spool.unfinished()
        for outcome in found:
            assert [spool.file_of(outcome, output).read_bytes() for output in outcome.outputs] == [b"content"]
        under_way = Journal(tmp_path / str(life["step"]) / "running", "box").left({one.attempt for one in found})
        if life["begun"] and not life["delivered"]:
            assert len(found) + len(under_way) == 1, "what was begun is taken up or delivered, and never both"
        assert len(list((tmp_path / str(life["step"]) / "spool").iterdir())) == len(found), "no garbage is left"
        seen.append((life["kept"], len(found)))
    not_yet = [count for kept, count in seen if not kept]
    afterwards = [count for kept, count in seen if kept]
    assert not_yet == sorted(not_yet), "nothing, until from some step on it is there"
    assert afterwards == sorted(afterwards, reverse=True), "there, until from some step on it is gone"
    assert (not_yet[0], afterwards[0], afterwards[-1]) == (0, 1, 0)
    assert len(seen) > 10, "the steps are counted"
