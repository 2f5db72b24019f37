"""Children get the operator's environment: no paths of the frozen agent, no secrets."""

import ast
from pathlib import Path

import pytest

from agent.spawn import child_environment

#: where the frozen agent unpacks itself
FROZEN_LIBRARIES = "/run/muster-agent/_MEI1"


def test_the_library_path_from_before_is_restored() -> None:
    environ = {"LD_LIBRARY_PATH": FROZEN_LIBRARIES, "LD_LIBRARY_PATH_ORIG": "/usr/local/cuda/lib64", "HOME": "/root"}
    restored = {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64", "HOME": "/root"}
    assert child_environment(environ, {}, frozen=True) == restored


def test_a_library_path_that_the_frozen_agent_brought_is_taken_away() -> None:
    assert child_environment({"LD_LIBRARY_PATH": FROZEN_LIBRARIES}, {}, frozen=True) == {}


def test_an_agent_that_is_not_frozen_leaves_the_library_path_alone() -> None:
    environ = {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}
    assert child_environment(environ, {}, frozen=False) == environ


@pytest.mark.parametrize(
    "name", ["HUB_AUTH_TOKEN", "HUB_AUTH_TOKEN_FILE", "HUB_REDIS_URL", "REDIS_URL", "WS_AUTH_TOKEN", "MUSTER_KEY"]
)
def test_secrets_of_the_agent_are_withheld(name: str) -> None:
    assert child_environment({name: "secret", "PATH": "/bin"}, {}) == {"PATH": "/bin"}


def test_what_is_added_wins_and_the_first_environment_stays_as_it_is() -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "all"}
    assert child_environment(environ, {"CUDA_VISIBLE_DEVICES": "GPU-1"}) == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert environ == {"CUDA_VISIBLE_DEVICES": "all"}


#: who starts child processes, each with an environment from `child_environment`
STARTERS = {"agent/spawn.py", "agent/probes/gpu_nvml.py", "agent/connectors/process_group.py"}
#: what starts one
STARTS = {"Popen", "check_call", "check_output", "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec"}
STARTS |= {"subprocess_shell", "posix_spawn", "execve", "execv", "fork", "run_process"}


def starts(path: Path) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in STARTS]


def test_no_child_is_started_elsewhere_and_each_is_given_its_environment() -> None:
    found = {path.as_posix(): starts(path) for path in Path("agent").rglob("*.py")}
    assert {name for name, calls in found.items() if calls} == STARTERS
    for calls in found.values():
        assert all("env" in {keyword.arg for keyword in call.keywords} for call in calls)
