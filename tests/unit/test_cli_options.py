"""From options to documents."""

import click
import pytest

from shared.cli import COMMANDS, muster
from shared.cli.events import cursor_at
from shared.cli.explain import described as explain_described
from shared.cli.fleet import gpu_of
from shared.cli.jobs import chosen
from shared.cli.options import json_object, pairs
from shared.cli.output import age, size
from shared.cli.submit import described


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = muster.get_command(click.Context(muster), name)
    assert command is not None
    assert command.name == name
    assert command.help
    assert f"muster {name}" in (command.epilog or "")


def test_only_what_was_said_is_submitted() -> None:
    nothing = {"payload": None, "requires": None, "inputs": (), "labels": ()}
    assert described({**nothing, "service": "simulation", "priority": None}) == ({"service": "simulation"}, {})
    document, files = described(
        {
            **nothing,
            "service": "comfyui",
            "requires": '{"gpu.memory_gb": 16}',
            "inputs": ("a.png=https://x.test/a?b=c",),
            "labels": ("team=render",),
            "delay_s": 0.0,
        }
    )
    assert files == {"a.png": "https://x.test/a?b=c"}
    assert document == {
        "service": "comfyui",
        "requires": {"gpu.memory_gb": 16},
        "labels": {"team": "render"},
        "delay_s": 0.0,
    }


@pytest.mark.parametrize("text", ["[]", "3", '{"a"', "gpu=3"])
def test_requires_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="--requires"):
        json_object("--requires", text)


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_pair_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="--label"):
        pairs("--label", (text,))


def test_a_question_about_comfyui_has_a_payload_that_the_hub_takes() -> None:
    options = {"payload": None, "requires": None, "labels": (), "service": "comfyui", "model": None}
    assert explain_described(options)["payload"]["prompt"]


@pytest.mark.parametrize("since", ["", "1", "h", "-1h", "1 h", "1w"])
def test_time_that_is_none_is_refused(since: str) -> None:
    with pytest.raises(click.UsageError, match="--since"):
        cursor_at(since)


def test_times_and_sizes_are_short() -> None:
    ages = [age(None), *(age(0, passed_s * 1000) for passed_s in (0, 119, 120, 7_199, 7_200, 172_800))]
    assert ages == ["-", "0s", "119s", "2m", "119m", "2h", "2d"]
    assert [size(number) for number in (0, 999, 1_000, 20_000, 1_234_567, 5 * 10**9)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "20.0 kB",
        "1.2 MB",
        "5.0 GB",
    ]


def test_gpus_in_a_few_words() -> None:
    assert gpu_of({}) == "none"
    assert gpu_of({"gpu": {"count": 0}}) == "none"
    assert gpu_of({"gpu": {"count": 1, "model": "RTX 4090", "memory_gb": 24.0}}) == "RTX 4090, 24 GB"
    assert gpu_of({"gpu": {"count": 4, "model": "L4", "memory_gb": 22.5}}) == "4 x L4, 22.5 GB"


def test_defaults_of_a_job_are_not_shown() -> None:
    assert chosen({"service": "simulation", "isolation": "none", "max_attempts": 3, "labels": {"a": "b"}}) == {
        "service": "simulation",
        "labels": {"a": "b"},
    }
    assert chosen({"service": "simulation", "of_tomorrow": 1})["of_tomorrow"] == 1
