"""The command service: runs a program of this machine that the operator allowed, on the job's files.

It refuses to know what the program does.

- A program runs only when the allow-list names it, word for word; no shell is involved.
- It runs in a folder of its own that holds the job's inputs; outputs are regular files below that folder.
- Its environment is the worker's, and a job can add variables but not replace one.
- On cancel the whole process group ends: SIGTERM, and SIGKILL after a grace.
- Each program has its attempt in its environment, so that a next process of the agent finds what a dead one left.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Collection, Mapping
from typing import Any

from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceFault, ServiceState
from agent.connectors.collect import Placed, collect, place
from agent.connectors.process_group import Ended, GroupTimes, OnLine, Program, end_marked, run_group
from agent.spawn import child_environment
from shared.wire.job import Progress
from shared.wire.states import FailureClass

__all__ = ["CommandConnector"]

#: folder below the attempt's output folder in which the program runs
WORK_FOLDER = "work"
#: the variable that names the attempt to its program: job id and fence, `default-01J....3`
MARK = "MUSTER_ATTEMPT"
#: output lines go up as progress messages at most this often, in seconds
MESSAGE_EVERY_S = 0.5
MESSAGE_CHARACTERS = 200
GROUP_TIMES = GroupTimes()


class CommandConnector:
    """Runs allow-listed programs.

    Args:
        allowed: names looked up on `PATH`, or absolute paths.
        environ: the agent's environment.
        times: patience with a group that ends.
    """

    service = "command"

    def __init__(self, allowed: Collection[str], environ: Mapping[str, str], times: GroupTimes = GROUP_TIMES) -> None:
        self._allowed = tuple(allowed)
        self._environ = environ
        self._times = times

    async def probe(self) -> ServiceState:
        """Which of the allowed programs this machine has."""
        there = [name for name in self._allowed if self._find(name)]
        if not there:
            return ServiceState(healthy=False, reason=self._why_nothing())
        return ServiceState(healthy=True, capability={"programs": {self.service: there}})

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        """Exit code and the last output as values; the files that match the payload's globs as outputs.

        Globs that match none are a value, too: `"unmatched": ["*.png"]`.

        Raises:
            ServiceFault: `unfit` when this worker may not or can't run the program; `service` when it ended badly.
            asyncio.CancelledError: the task was cancelled and the process group is gone.
        """
        payload = assignment.payload
        argv = [self._program(payload["program"]), *payload["args"]]
        environment = self._environment(assignment)
        work = assignment.output_dir / WORK_FOLDER
        placed = await asyncio.to_thread(place, assignment.inputs, work)
        stdin = None if payload["stdin"] is None else payload["stdin"].encode()
        program = Program(argv=argv, folder=work, environment=environment, stdin=stdin)
        ended = await self._run(program, report)
        return await _finished(payload, ended, placed)

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:  # noqa: ARG002 - marked instead
        """Nothing: a program's output went with the process that read it. What is left of it is ended.

        Raises:
            NotAdopted: always.
            asyncio.CancelledError: the task was cancelled; all of the program got SIGKILL.
        """
        count = await end_marked(MARK, _mark(assignment), self._times)
        raise NotAdopted(f"a program's output goes with the agent that started it; {count} of its processes were ended")

    async def close(self) -> None:
        """Nothing to free."""

    def _find(self, name: str) -> str | None:
        return shutil.which(name, path=self._environ.get("PATH", os.defpath))

    def _why_nothing(self) -> str:
        if not self._allowed:
            return "no program is allowed: name some in the agent's configuration"
        return f"none of the allowed programs is installed: {', '.join(self._allowed)}"

    def _program(self, name: str) -> str:
        if name not in self._allowed:
            raise ServiceFault(FailureClass.UNFIT, f"program '{name}' is not allowed on this worker")
        path = self._find(name)
        if path is None:
            raise ServiceFault(FailureClass.UNFIT, f"program '{name}' is allowed but not installed on this worker")
        return path

    def _environment(self, assignment: Assignment) -> dict[str, str]:
        own = {**assignment.environment, MARK: _mark(assignment)}
        environment = child_environment(self._environ, own)
        for name, value in assignment.payload["env"].items():
            if name in environment:
                raise ServiceFault(
                    FailureClass.BAD_INPUT, f"variable '{name}' is the worker's own; a job can't replace it"
                )
            environment[name] = value
        return environment

    async def _run(self, program: Program, report: Report) -> Ended:
        try:
            return await run_group(program, _messages(report), self._times)
        except OSError as error:
            raise ServiceFault(FailureClass.UNFIT, f"could not start {program.argv[0]}: {error.strerror}") from None


def _mark(assignment: Assignment) -> str:
    return f"{assignment.job_id}.{assignment.fence}"


def _messages(report: Report) -> OnLine:
    """Lines of output as progress, not too often."""
    clock = asyncio.get_running_loop().time
    last_s = float("-inf")

    def on_line(line: str) -> None:
        nonlocal last_s
        if clock() - last_s >= MESSAGE_EVERY_S:
            last_s = clock()
            report(Progress(message=line[:MESSAGE_CHARACTERS]))

    return on_line


async def _finished(payload: dict[str, Any], ended: Ended, placed: Placed) -> Finished:
    stdout, stderr = (stream.decode(errors="replace") for stream in (ended.stdout, ended.stderr))
    if ended.exit_code != 0:
        raise ServiceFault(FailureClass.SERVICE, _why(payload["program"], ended.exit_code, stderr))
    collected = await asyncio.to_thread(collect, payload["outputs"], placed)
    values: dict[str, Any] = {"exit_code": ended.exit_code, "stdout": stdout, "stderr": stderr}
    if collected.unmatched:
        values["unmatched"] = list(collected.unmatched)
    return Finished(values=values, outputs=collected.outputs)


def _why(program: str, exit_code: int, stderr: str) -> str:
    how = f"was killed by {_signal_name(-exit_code)}" if exit_code < 0 else f"ended with exit code {exit_code}"
    lines = stderr.strip().splitlines()
    return f"{program} {how}" + (f": {lines[-1].strip()[:MESSAGE_CHARACTERS]}" if lines else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
