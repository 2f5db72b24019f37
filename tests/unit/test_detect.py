"""The agent as it tells of itself."""

from agent.config import AgentConfig
from agent.detect import Machine, agent_facts, agent_name
from shared import __version__


def test_an_agent_tells_where_it_runs() -> None:
    facts = agent_facts(Machine(hostname="rig"), agent_id="w", pid=7, started_at_ms=1)
    assert (facts.agent_id, facts.hostname, facts.version, facts.pid, facts.started_at_ms) == (
        "w",
        "rig",
        __version__,
        7,
        1,
    )
    assert facts.platform.startswith("linux-")
    assert agent_facts(Machine(hostname=None), agent_id="w", pid=7, started_at_ms=1).hostname == "w"


def test_an_agent_that_is_not_enrolled_is_named_as_configured_or_as_its_machine() -> None:
    assert agent_name(Machine(hostname="h"), AgentConfig(worker_id="w")) == "w"
    assert agent_name(Machine(hostname="h"), AgentConfig()) == "h"
    assert agent_name(Machine(hostname=None), AgentConfig()) == "agent"
