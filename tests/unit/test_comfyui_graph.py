"""The graph as it is sent to ComfyUI."""

import copy

import pytest

from agent.connectors.comfyui.graph import plain_path, prepare

GRAPH = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "face.png"}, "_meta": {"title": "face"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "nice/out"}},
    "3": {"class_type": "Text", "inputs": {"text": "face.png and more", "number": 5}},
}


def test_an_input_name_becomes_the_servers_name_and_only_where_it_is_the_whole_value() -> None:
    sent = prepare(GRAPH, "job.1", {"face.png": "job.1/face (1).png"})
    assert sent["1"] == {
        "class_type": "LoadImage",
        "inputs": {"image": "job.1/face (1).png"},
        "_meta": {"title": "face"},
    }
    assert sent["3"]["inputs"] == {"text": "face.png and more", "number": 5}


def test_an_input_name_is_found_however_deep_and_links_stay() -> None:
    graph = {
        "face.png": {
            "class_type": "Batch",
            "inputs": {"files": ["face.png", {"second": ["b.mp4", "other"]}], "n": None},
        },
        "2": {"class_type": "Save", "inputs": {"images": ["face.png", 0], "pair": ["b.mp4", 1]}},
    }
    sent = prepare(graph, "job.1", {"face.png": "job.1/face.png", "b.mp4": "job.1/b (1).mp4"})
    assert sent["face.png"]["inputs"] == {
        "files": ["job.1/face.png", {"second": ["job.1/b (1).mp4", "other"]}],
        "n": None,
    }
    assert sent["2"]["inputs"] == {"images": ["face.png", 0], "pair": ["job.1/b (1).mp4", 1]}


def test_the_graph_as_submitted_is_not_changed() -> None:
    before = copy.deepcopy(GRAPH)
    prepare(GRAPH, "job.1", {"face.png": "x"})
    assert before == GRAPH


@pytest.mark.parametrize(
    ("prefix", "sent"),
    [
        ("out", "job.1/out"),
        ("nice/out", "job.1/nice/out"),
        ("../../etc/out", "job.1/etc/out"),
        ("/abs/out", "job.1/abs/out"),
        ("win\\out", "job.1/win/out"),
        ("", "job.1/ComfyUI"),
    ],
)
def test_every_prefix_moves_into_the_attempts_folder(prefix: str, sent: str) -> None:
    graph = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix}}}
    assert prepare(graph, "job.1", {})["1"]["inputs"]["filename_prefix"] == sent


def test_a_linked_prefix_stays_a_link() -> None:
    graph = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": ["2", 0]}}}
    assert prepare(graph, "job.1", {})["1"]["inputs"]["filename_prefix"] == ["2", 0]


@pytest.mark.parametrize(("path", "plain"), [("a/b", "a/b"), ("..\\a//./b", "a/b"), ("/", ""), ("a..b", "a..b")])
def test_a_plain_path_never_leads_elsewhere(path: str, plain: str) -> None:
    assert plain_path(path) == plain
