"""An attempt's way over the disk, from the journal into the spool and out of it, killed by SIGKILL at each of its steps
in turn: one process per step.

`python -m tests.support.spool_victim FOLDER` prints, per step, what it had come to:
`{"step", "begun", "kept", "delivered", "removed"}`.
A step is any call that changes or syncs the disk.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any

from agent.connectors.base import OutputFile
from agent.journal import Journal
from agent.outcome import Outcome
from agent.spool import Spool
from tests.support.agent_life import claimed_job

#: what changes the disk, or makes a change last
CALLS = ("rename", "replace", "mkdir", "unlink", "remove", "rmdir", "fsync", "open")

OUTCOME = Outcome(job_id="default-1", fence=1, pool="default", worker_id="a", service="simulation", ended_at_ms=1)


def live(folder: Path, last_step: int, tell: int) -> None:
    """Die at that step, or exit with 0 when there is none."""
    steps = 0

    def stepping(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == last_step:
                os.kill(os.getpid(), SIGKILL)
            return call(*args, **more)

        return counted

    output = folder / "output"
    output.write_bytes(b"content")
    spool = Spool(folder / "spool")
    journal = Journal(folder / "running", "box")
    for name in CALLS:
        setattr(os, name, stepping(getattr(os, name)))
    journal.keep(journal.begun(claimed_job(), 1))
    os.write(tell, b"b")
    journal.note(OUTCOME.attempt, "remote-7")
    spool.keep(OUTCOME, [OutputFile(name="a", path=output)])
    os.write(tell, b"k")
    journal.remove(OUTCOME.attempt)
    os.write(tell, b"d")
    spool.remove(OUTCOME.attempt)
    os.write(tell, b"r")


def main() -> None:
    """Once per step."""
    root, step, ended = Path(sys.argv[1]), 0, False
    while not ended:
        step += 1
        folder = root / str(step)
        folder.mkdir()
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            live(folder, step, tell)
            os._exit(0)
        os.close(tell)
        ended = os.waitpid(child, 0)[1] == 0
        with os.fdopen(told, "rb") as words:
            said = words.read().decode()
        words_of = {"begun": "b", "kept": "k", "delivered": "d", "removed": "r"}
        life = {"step": step, **{word: letter in said for word, letter in words_of.items()}}
        sys.stdout.write(json.dumps(life) + "\n")


if __name__ == "__main__":
    main()
