"""Which workers there are, and which instance of each service each of them uses."""

from typing import Any

import pytest

from agent.config import AgentConfig
from agent.http_settings import HttpService
from agent.plan import Instance, Plan, plan_of
from agent.worker_settings import WorkerTable
from shared.errors import Misconfigured

KNOWN = ("a1111", "comfyui", "command", "openai", "simulation", "upscale")


def plan(*tables: dict[str, Any], gpus: int = 0, **settings: Any) -> Plan:
    config = AgentConfig(worker=[WorkerTable(**table) for table in tables], **settings)
    return plan_of(config, KNOWN, gpu_count=gpus, agent_id="rig")


def uses(made: Plan, service: str) -> dict[str, str]:
    """Worker → URL, of those that offer the service."""
    return {one.worker_id: one.instances[service].url for one in made.workers if service in one.instances}


# -- who there is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "ids"), [(0, {"rig": ()}), (1, {"rig": (0,)}), (3, {"rig-0": (0,), "rig-1": (1,), "rig-2": (2,)})]
)
def test_without_tables_there_is_a_worker_per_gpu(gpus: int, ids: dict[str, tuple[int, ...]]) -> None:
    assert {one.worker_id: one.gpus for one in plan(gpus=gpus).workers} == ids


def test_tables_name_their_workers_by_name_place_and_slot() -> None:
    made = plan({"gpus": [1]}, {"gpus": [0], "name": "big", "slots": 2}, {"gpus": [], "slots": 1}, gpus=2)
    assert {one.worker_id: one.gpus for one in made.workers} == {
        "rig-0": (1,),
        "rig-big.0": (0,),
        "rig-big.1": (0,),
        "rig-2": (),
    }


@pytest.mark.parametrize(
    ("table", "ids"),
    [
        ({"gpus": [0]}, ["rig"]),
        ({"gpus": [0], "slots": 2}, ["rig-0.0", "rig-0.1"]),
        ({"gpus": [0], "name": "a"}, ["rig-a"]),
    ],
)
def test_the_only_worker_is_the_agent_itself_unless_it_has_a_name(table: dict[str, Any], ids: list[str]) -> None:
    assert [one.worker_id for one in plan(table, gpus=4).workers] == ids


def test_more_workers_than_the_store_takes_of_an_agent_are_a_fault() -> None:
    assert len(plan({"gpus": [0], "slots": 60}, {"gpus": [1], "slots": 4}, gpus=2).workers) == 64
    with pytest.raises(Misconfigured, match=r"^expected at most 64 workers of an agent, got 65: .* second agent$"):
        plan({"gpus": [0], "slots": 60}, {"gpus": [1], "slots": 5}, gpus=2)


# -- which instances -------------------------------------------------------------------------------------------------


def test_a_list_gives_each_gpu_its_instance_in_order() -> None:
    made = plan(gpus=2, services=["comfyui"], comfyui_url="http://h:1,http://h:2")
    assert uses(made, "comfyui") == {"rig-0": "http://h:1", "rig-1": "http://h:2"}
    assert made.remarks == {}
    assert made.users == {Instance("comfyui", "http://h:1"): 1, Instance("comfyui", "http://h:2"): 1}


def test_a_template_gives_each_gpu_its_instance_by_its_place() -> None:
    made = plan({"gpus": [3]}, {"gpus": [1, 2]}, {"gpus": []}, gpus=4, comfyui_url="http://h:{8188+gpu}")
    assert uses(made, "comfyui") == {"rig-0": "http://h:8191", "rig-1": "http://h:8189", "rig-2": "http://h:8188"}


def test_one_plain_url_is_one_gpus_alone_and_that_is_said_with_the_remedy() -> None:
    made = plan(gpus=3, services=["comfyui", "simulation"])
    assert uses(made, "comfyui") == {"rig-0": "http://localhost:8188"}
    assert list(uses(made, "simulation")) == ["rig-0", "rig-1", "rig-2"]
    assert made.remarks == {
        "comfyui": "comfyui isn't offered by rig-1, rig-2: http://localhost:8188 is used by rig-0 alone; start an "
        "instance per GPU and list them in COMFYUI_URL, or with {gpu} in it"
    }


def test_the_same_url_twice_is_still_one_instance() -> None:
    made = plan(gpus=2, services=["comfyui"], comfyui_url="http://h:1,http://h:1/")
    assert uses(made, "comfyui") == {"rig-0": "http://h:1"}
    assert "rig-1" in made.remarks["comfyui"]


def test_fewer_instances_than_gpus_are_not_shared() -> None:
    made = plan(gpus=3, services=["a1111"], a1111_url="http://h:1,http://h:2")
    assert uses(made, "a1111") == {"rig-0": "http://h:1", "rig-1": "http://h:2"}
    assert made.remarks["a1111"] == "a1111 isn't offered by rig-2: A1111_URL lists no instance for their GPUs; add them"


def test_more_instances_than_gpus_are_said_to_be_unused_without_their_secrets() -> None:
    made = plan(gpus=1, services=["comfyui"], comfyui_url="http://h:1,http://ann:s3cret@h:2")
    assert uses(made, "comfyui") == {"rig": "http://h:1"}
    assert made.remarks == {"comfyui": "no worker uses http://h:2 (COMFYUI_URL): there is no GPU for it"}


def test_slots_share_the_instance_of_their_gpu_and_so_do_workers_without_one() -> None:
    made = plan({"gpus": [0], "slots": 2}, {"gpus": [0], "name": "b"}, {"gpus": [1]}, gpus=2, services=["comfyui"])
    assert made.users == {Instance("comfyui", "http://localhost:8188"): 3}
    assert "rig-2" in made.remarks["comfyui"]
    assert plan({"gpus": [], "slots": 3}, gpus=2, services=["openai"]).users == {
        Instance("openai", "http://localhost:8000"): 3
    }


def test_an_address_of_a_table_wins() -> None:
    made = plan(
        {"gpus": [0], "urls": {"comfyui": "http://a:{9000+gpu}"}},
        {"gpus": [1], "urls": {"comfyui": "http://a:{9000+gpu}"}},
        gpus=2,
        services=["comfyui"],
    )
    assert uses(made, "comfyui") == {"rig-0": "http://a:9000", "rig-1": "http://a:9001"}
    assert made.remarks == {}


def test_each_table_has_its_own_services() -> None:
    made = plan({"gpus": [0], "services": ["comfyui"]}, {"gpus": []}, gpus=1, services=["command", "upscale"])
    assert [[*one.instances] for one in made.workers] == [["comfyui"], ["command", "upscale"]]


def test_openai_concurrency_says_how_many_workers_share_a_server_of_whatever_gpu() -> None:
    made = plan(gpus=4, services=["openai"], openai_concurrency=3)
    assert [*uses(made, "openai")] == ["rig-0", "rig-1", "rig-2"]
    assert "OPENAI_CONCURRENCY" in made.remarks["openai"]
    assert plan(gpus=4, services=["openai"], openai_concurrency=4).remarks == {}
    assert [*uses(plan(gpus=4, services=["openai"]), "openai")] == ["rig-0"]


def test_openai_concurrency_that_no_workers_reach_is_said() -> None:
    made = plan(gpus=1, services=["openai"], openai_concurrency=8)
    assert made.remarks["openai"].startswith("openai gets at most 1 job(s) at once on a server, not 8")
    assert plan({"gpus": [0], "slots": 8}, gpus=1, services=["openai"], openai_concurrency=8).remarks == {}


def test_only_services_that_somebody_named_are_named() -> None:
    assert plan(gpus=1).named == frozenset()
    assert plan(gpus=1, services=["command"]).named == {Instance("command")}
    made = plan({"gpus": [0], "services": ["comfyui"]}, {"gpus": []}, gpus=1)
    assert made.named == {Instance("comfyui", "http://localhost:8188")}


def test_nothing_is_remarked_of_services_that_nobody_has() -> None:
    assert plan(gpus=4, services=["command"]).remarks == {}


# -- faults ----------------------------------------------------------------------------------------------------------


def test_all_faults_are_told_at_once_with_the_remedy() -> None:
    no_server = "expected worker.2.urls to name no service: none of its own has a server, got 'comfyui'; "
    no_server += "or add that to its services"
    with pytest.raises(Misconfigured) as caught:
        plan(
            {"gpus": [0], "services": ["comfy-ui", "http"]},
            {"gpus": [1], "name": "0"},
            {"gpus": [], "services": ["command"], "urls": {"comfyui": "http://h"}},
            gpus=2,
            services=["zzz"],
        )
    assert caught.value.detail.splitlines() == [
        "unknown service 'zzz' (SERVICES): there are a1111, comfyui, command, openai, simulation, upscale",
        "unknown service 'comfy-ui' (worker.0.services): did you mean 'comfyui'?",
        "service 'http' (worker.0.services) needs an [[http]] table in the agent's file; name the table's `service`",
        no_server,
        "two workers would be rig-0: name the [[worker]] tables",
    ]


def test_an_address_that_can_not_be_is_told_by_its_setting_and_without_its_secrets() -> None:
    with pytest.raises(Misconfigured) as caught:
        plan({"gpus": [0], "urls": {"a1111": "http://u:s3cret@h:0"}}, gpus=1, comfyui_url="http://h:{65536+gpu}")
    assert "s3cret" not in caught.value.detail
    first, second = sorted(caught.value.detail.splitlines())
    assert first == "expected COMFYUI_URL to have a host, and a port of 1-65535, got http://h:65536; correct it"
    assert "urls.a1111 of a [[worker]] table" in second


def test_a_gpu_that_is_not_there_is_told_and_stops_nobody() -> None:
    made = plan({"gpus": [0, 5, 6]}, {"gpus": [1]}, gpus=2)
    assert [one.gpus for one in made.workers] == [(0, 5, 6), (1,)]
    assert made.faults == (
        "worker rig-0 is to have GPU 5, 6, the machine shows 2, counted from 0; correct gpus of its table",
    )


def test_http_tables_are_every_workers() -> None:
    made = plan(gpus=2, services=["upscale"], http=[HttpService(service="upscale", url="http://h/x")])
    assert [*uses(made, "upscale")] == ["rig-0", "rig-1"]
