"""A real child process, started as the agent starts all of them."""

import asyncio
import os
import sys

from agent.spawn import child_environment, spawn


async def test_a_child_leads_a_process_group_of_its_own() -> None:
    script = "import os; print(os.getpgrp() == os.getpid(), os.environ['MARK'])"
    environment = child_environment(os.environ, {"MARK": "seen"})
    child = await spawn([sys.executable, "-c", script], environment)
    async with asyncio.timeout(30):
        stdout, _ = await child.communicate()
    assert stdout.split() == [b"True", b"seen"]
