"""The agent's settings, by the names that are promised to operators."""

import re
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig, CommandConfig, state_dir
from agent.plan import plan_of
from agent.worker_settings import WorkerTable
from shared.config import describe, load
from shared.errors import Misconfigured

#: every environment name of the product's interface: its value as text, the setting, its value
PROMISED: list[tuple[str, str, str, Any]] = [
    ("HUB_URL", "https://hub:3001", "hub_url", "https://hub:3001"),
    ("HUB_REDIS_URL", "rediss://u:p@store:6379/0", "hub_redis_url", "rediss://u:p@store:6379/0"),
    ("HUB_WS_URL", "wss://hub:3001", "hub_ws_url", "wss://hub:3001"),
    ("HUB_AUTH_TOKEN", "mt_secret", "hub_auth_token", "mt_secret"),
    ("WORKER_ID", "rig-1", "worker_id", "rig-1"),
    ("WORKER_TYPE", "render", "worker_type", "render"),
    ("SERVICES", "comfyui, a1111", "services", ["comfyui", "a1111"]),
    ("COMFYUI_URL", "http://gpu:1", "comfyui_url", "http://gpu:1"),
    ("COMFYUI_AUTH", "ann:pass:word", "comfyui_auth", "ann:pass:word"),
    ("COMFYUI_AUTH", "Bearer abc.def", "comfyui_auth", "Bearer abc.def"),
    ("COMFYUI_AUTH", "X-Api-Key: abc", "comfyui_auth", "X-Api-Key: abc"),
    ("A1111_URL", "http://gpu:2", "a1111_url", "http://gpu:2"),
    ("A1111_AUTH", "ann:pass:word", "a1111_auth", "ann:pass:word"),
    ("OPENAI_URL", "https://gpu:3/v1", "openai_url", "https://gpu:3/v1"),
    ("OPENAI_API_KEY", "sk-1", "openai_api_key", "sk-1"),
    ("OPENAI_MODELS", "a/b, c", "openai_models", ["a/b", "c"]),
    ("OPENAI_CONCURRENCY", "8", "openai_concurrency", 8),
    ("PROBE_INTERVAL_S", "5", "probe_interval_s", 5.0),
    ("GPU_COUNT", "0", "gpu_count", 0),
    ("GPU_MEMORY_GB", "24", "gpu_memory_gb", 24.0),
    ("GPU_MODEL", "NVIDIA L4", "gpu_model", "NVIDIA L4"),
    ("CPU_CORES", "16", "cpu_cores", 16),
    ("RAM_GB", "63.5", "ram_gb", 63.5),
    ("AGENT_CLOUD_METADATA", "false", "cloud_metadata", False),
    ("AGENT_STATE_DIR", "/srv/agent", "state_dir", Path("/srv/agent")),
    ("AGENT_CONNECTORS_DIR", "/srv/connectors", "connectors_dir", Path("/srv/connectors")),
    ("AGENT_DRAIN_TIMEOUT_S", "30", "drain_timeout_s", 30.0),
    ("SPOOL_MAX_GB", "0.5", "spool_max_gb", 0.5),
    ("SPOOL_MIN_FREE_GB", "0", "spool_min_free_gb", 0.0),
    ("POOLS", "default,eu", "pools", ["default", "eu"]),
]


@pytest.mark.parametrize(("name", "text", "key", "value"), PROMISED)
def test_every_promised_environment_name_works(name: str, text: str, key: str, value: object) -> None:
    assert getattr(load(AgentConfig, environ={name: text}), key) == value


def test_no_other_environment_name_is_read() -> None:
    assert {row.env for row in describe(AgentConfig)} - {""} == {name for name, *_ in PROMISED}


def test_a_flag_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('worker_id = "file"\nworker_type = "file"\ngpu_model = "file"\n')
    environ = {"WORKER_ID": "environment", "WORKER_TYPE": "environment"}
    config = load(AgentConfig, flags={"worker_id": "flag"}, environ=environ, file=file)
    assert (config.worker_id, config.worker_type, config.gpu_model) == ("flag", "environment", "file")


def test_nothing_set_means_what_is_detected_and_the_usual_ports() -> None:
    config = load(AgentConfig, environ={})
    assert (config.services, config.gpu_count, config.gpu_memory_gb, config.ram_gb) == (None, None, None, None)
    assert (config.comfyui_url, config.a1111_url) == ("http://localhost:8188", "http://localhost:7860")
    assert (config.pools, config.command, config.drain_timeout_s) == (["default"], CommandConfig(allow=[]), 600.0)


def test_tables_come_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(
        'accepts = {customer_id = "acme"}\n'
        '[command]\nallow = ["ffmpeg", "/usr/bin/convert"]\n'
        '[labels]\nteam = "render"\n'
        '[capability.location]\nregion = "eu-west"\n'
    )
    config = load(AgentConfig, environ={}, file=file)
    assert config.accepts == {"customer_id": "acme"}
    assert config.command.allow == ["ffmpeg", "/usr/bin/convert"]
    assert config.labels == {"team": "render"}
    assert config.capability == {"location": {"region": "eu-west"}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HUB_URL", "hub:3001"),
        ("HUB_WS_URL", "https://hub"),
        ("HUB_REDIS_URL", "http://store"),
        ("COMFYUI_URL", "localhost:8188"),
        ("COMFYUI_URL", "http://a,b"),
        ("COMFYUI_URL", "http://a,"),
        ("COMFYUI_URL", "http://a:{8188+gpus}"),
        ("A1111_URL", "http://a:{7860+gpu+1}"),
        ("OPENAI_URL", "http://a/{gpu"),
        ("OPENAI_CONCURRENCY", "0"),
        ("OPENAI_CONCURRENCY", "65"),
        ("PROBE_INTERVAL_S", "0"),
        ("COMFYUI_AUTH", "token-alone"),
        ("COMFYUI_AUTH", "Bearer line\nbreak"),
        ("A1111_AUTH", "password"),
        ("WORKER_ID", "rig/1"),
        ("WORKER_ID", "rig 1"),
        ("POOLS", "Default"),
        ("GPU_COUNT", "-1"),
        ("GPU_COUNT", "two"),
        ("GPU_MEMORY_GB", "0"),
        ("CPU_CORES", "0"),
        ("RAM_GB", "-1"),
        ("AGENT_DRAIN_TIMEOUT_S", "-1"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(Misconfigured, match=name):
        load(AgentConfig, environ={name: text})


@pytest.mark.parametrize("line", ["worker_idd = 'x'", "[command]\nalow = ['x']", "pools = []"])
def test_a_mistake_in_the_file_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(line)
    with pytest.raises(Misconfigured):
        load(AgentConfig, environ={}, file=file)


def test_the_page_shows_worker_tables_that_work_and_every_key(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    (shown,) = [text for text in re.findall(r"```toml\n(.+?)```", page, re.DOTALL) if "[[worker]]" in text]
    (tmp_path / "agent.toml").write_text(shown)
    config = load(AgentConfig, environ={}, file=tmp_path / "agent.toml")
    plan = plan_of(config, ["comfyui", "openai", "command"], gpu_count=3, agent_id="ID")
    assert [one.worker_id for one in plan.workers] == ["ID-draw", *(f"ID-chat.{n}" for n in range(8)), "ID-cpu"]
    assert plan.remarks == {}
    assert [key for key in WorkerTable.__struct_fields__ if f"`{key}`" not in page] == []


def test_a_login_in_an_address_is_not_shown() -> None:
    with pytest.raises(Misconfigured) as caught:
        load(AgentConfig, environ={"COMFYUI_URL": "http://ann:s3cret@h:1,http://bob:s3cret@h,x"})
    assert "got 'http://(secret)@h:1,http://(secret)@h,x'" in caught.value.detail


def test_a_list_of_servers_that_can_not_be_says_what_can() -> None:
    with pytest.raises(Misconfigured) as caught:
        load(AgentConfig, environ={"COMFYUI_URL": "http://a:{8188*gpu}"})
    assert caught.value.detail == (
        "expected comfyui_url to be http:// or https:// URLs, separated by commas, or one with {gpu} or {8188+gpu}, "
        "got 'http://a:{8188*gpu}' (COMFYUI_URL); correct it, or leave it out for 'http://localhost:8188'"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gpu = [0]", r"'worker.0.gpu'; did you mean 'gpus'"),
        ("", "worker.0 to be a table .object missing required field gpus"),
        ("gpus = [-1]", "gpus"),
        ("gpus = [0, 0]", "each GPU once in gpus"),
        ('gpus = [0]\nname = "a.b"', "name"),
        ("gpus = [0]\nslots = 0", "slots"),
        ("gpus = [0]\nservices = []", "services"),
        ('gpus = [0]\nurls = { comfyui = "h:1" }', "urls"),
        ('gpus = [0]\nurls = { comfyui = "http://a,http://b" }', "urls"),
    ],
)
def test_a_worker_table_that_makes_no_sense_is_refused(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f"[[worker]]\n{line}\n")
    with pytest.raises(Misconfigured, match=words):
        load(AgentConfig, environ={}, file=file)


def test_every_table_tells_its_mistake(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('[[worker]]\ngpus = "0"\n[[worker]]\ngpus = []\n[[worker]]\ngpus = [0]\nslots = 0\n')
    with pytest.raises(Misconfigured) as caught:
        load(AgentConfig, environ={}, file=file)
    slotless = {"gpus": [0], "slots": 0}
    assert caught.value.detail.splitlines() == [
        f"expected worker.0 to be a table (at gpus: expected array), got {{'gpus': '0'}} ({file}); correct it",
        f"expected worker.2 to be a table (at slots: expected int >= 1), got {slotless} ({file}); correct it",
    ]


def test_a_mistake_within_a_table_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[command]\nalow = ['x']\nallow = [1]")
    with pytest.raises(Misconfigured) as caught:
        load(AgentConfig, environ={}, file=file)
    unknown, wrong = caught.value.detail.splitlines()
    assert unknown == f"expected a known key, got 'command.alow'; did you mean 'allow'? ({file})"
    assert "allow[0]" in wrong
    file.write_text("[command]\nalow = ['x']")
    with pytest.raises(Misconfigured) as caught:
        load(AgentConfig, environ={}, file=file)
    assert caught.value.detail.splitlines() == [unknown]


def test_secrets_are_known_as_such() -> None:
    assert {row.key for row in describe(AgentConfig) if row.secret} == {
        "hub_auth_token",
        "hub_redis_url",
        "a1111_auth",
        "comfyui_auth",
        "openai_api_key",
    }


def test_every_setting_says_what_it_is_for() -> None:
    assert [row.key for row in describe(AgentConfig) if not row.meaning] == []


def test_state_is_kept_by_platform_unless_configured() -> None:
    home = {"HOME": "/home/ann"}
    nowhere = AgentConfig()
    assert state_dir(nowhere, environ=home, root=True) == Path("/var/lib/muster-agent")
    assert state_dir(nowhere, environ=home, root=False) == Path("/home/ann/.local/state/muster/agent")
    assert state_dir(nowhere, environ=home | {"XDG_STATE_HOME": "/state"}, root=False) == Path("/state/muster/agent")
    assert state_dir(AgentConfig(state_dir=Path("/srv")), environ=home, root=True) == Path("/srv")
