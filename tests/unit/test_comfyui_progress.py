"""Progress over a whole graph, from events as a real server sent them and from shapes nobody expects."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.connectors.comfyui.progress import GraphProgress
from shared.wire.job import Progress

RECORDINGS = Path(__file__).parents[1] / "support" / "recordings"
CLASSES = {"1": "Load", "2": "KSampler", "3": "Save", "4": "Save"}


@pytest.fixture
def progress() -> GraphProgress:
    return GraphProgress("mine", CLASSES)


def _value(news: Progress | None) -> float | None:
    assert news is not None
    return news.value


def _replayed(scenario: str) -> list[Progress]:
    recording = json.loads((RECORDINGS / f"{scenario}.json").read_text())
    classes = {node_id: node["class_type"] for node_id, node in recording["graph"].items()}
    progress = GraphProgress("<prompt_id>", classes)
    heard = [progress.hear(frame["type"], frame["data"]) for frame in recording["frames"]]
    return [news for news in heard if news]


@pytest.mark.parametrize("scenario", ["success", "cached", "text"])
def test_a_recorded_success_climbs_to_one(scenario: str) -> None:
    values = [news.value or 0 for news in _replayed(scenario)]
    assert values == sorted(values)
    assert values[-1] == 1


def test_a_recorded_cached_run_starts_with_what_is_cached() -> None:
    assert _replayed("cached")[0].value == pytest.approx(2 / 3, abs=0.001)


def test_recorded_steps_are_the_running_nodes() -> None:
    heard = _replayed("interrupted")
    assert [news.step for news in heard if news.step] == sorted({news.step for news in heard if news.step})
    assert heard[-1].steps == 100
    assert heard[-1].message == "MusterSlow (node 2)"
    assert (heard[-1].value or 0) < 0.5


def test_an_older_server_without_states_is_followed_by_what_executes(progress: GraphProgress) -> None:
    def say(event: str, **data: Any) -> Progress | None:
        return progress.hear(event, {"prompt_id": "mine", **data})

    assert _value(say("execution_cached", nodes=["1"])) == 0.25
    assert _value(say("executing", node="2")) == 0.25
    assert _value(say("progress", node="2", value=5, max=10)) == 0.375
    assert _value(say("executing", node="3")) == 0.5
    assert _value(say("executed", node="3")) == 0.75
    assert _value(say("execution_success")) == 1


def test_it_never_goes_back(progress: GraphProgress) -> None:
    progress.hear("progress", {"prompt_id": "mine", "node": "2", "value": 9, "max": 10})
    assert _value(progress.hear("progress", {"prompt_id": "mine", "node": "2", "value": 1, "max": 10})) == 0.225


def test_the_same_news_is_told_once(progress: GraphProgress) -> None:
    event = {"prompt_id": "mine", "node": "2", "value": 9, "max": 10}
    assert progress.hear("progress", event)
    assert progress.hear("progress", event) is None


def test_the_place_in_the_queue_is_news(progress: GraphProgress) -> None:
    assert progress.waiting(2) == Progress(value=0.0, message="waiting in ComfyUI's queue, behind 2 others")
    assert progress.waiting(2) is None
    assert progress.waiting(0) is not None


def test_a_picture_is_shown_until_its_node_is_done(progress: GraphProgress) -> None:
    progress.hear("progress", {"prompt_id": "mine", "node": "2", "value": 1, "max": 4})
    pictured = progress.picture("2", "data:,")
    assert pictured
    assert (pictured.value, pictured.preview) == (0.0625, "data:,")
    assert progress.picture("2", "data:,") is None, "it is no news"
    after = progress.hear("progress", {"prompt_id": "mine", "node": "2", "value": 2, "max": 4})
    assert after
    assert after.preview == "data:,"
    done = progress.hear("executing", {"prompt_id": "mine", "node": "3"})
    assert done
    assert done.preview is None
    assert progress.picture("2", "data:,late") is None


def test_a_picture_is_of_the_node_it_names_or_of_the_one_that_runs(progress: GraphProgress) -> None:
    assert progress.node_of(None, None) is None
    progress.hear("executing", {"prompt_id": "mine", "node": "2"})
    assert progress.node_of(None, None) == "2"
    assert progress.node_of("mine", "3") == "3"
    assert progress.node_of("mine", "made-while-running") == "2"
    assert progress.node_of("another", "2") is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"node": "2", "value": 1, "max": 2},
        {"prompt_id": "another", "node": "2", "value": 1, "max": 2},
    ],
)
def test_events_of_nobody_or_another_prompt_are_no_news(progress: GraphProgress, data: Any) -> None:
    assert progress.hear("progress", data) is None


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("progress", {"node": "99", "value": 1, "max": 2}),
        ("progress", {"node": "2", "value": "x", "max": None}),
        ("progress", {"node": "2", "value": 1, "max": 0}),
        ("progress", {"node": ["2"], "value": 1, "max": 2}),
        ("progress_state", {"nodes": None}),
        ("progress_state", {"nodes": {"2": 5}}),
        ("execution_cached", {"nodes": 5}),
        ("executing", {"node": {}}),
        ("executed", {}),
        ("unheard_of", {}),
    ],
)
def test_shapes_nobody_knows_change_nothing(progress: GraphProgress, event: str, data: dict[str, Any]) -> None:
    news = progress.hear(event, {"prompt_id": "mine", **data})
    assert news is None or news.value == 0
