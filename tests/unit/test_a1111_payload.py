"""What the a1111 service takes: the API's fields by call, and pictures by the names of inputs."""

from typing import Any

import pytest

from shared.wire.fault import InvalidDocument
from shared.wire.payloads import check_payload


def refused(payload: dict[str, Any], *input_names: str) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        check_payload("a1111", payload, input_names)
    assert caught.value.code == "invalid_payload"
    return caught.value


@pytest.mark.parametrize(
    ("payload", "input_names"),
    [
        ({"endpoint": "txt2img"}, []),
        ({"endpoint": "txt2img", "prompt": "a", "hr_scale": 2, "override_settings": {"x": [1]}}, []),
        ({"endpoint": "img2img", "init_images": ["a"], "mask": "b", "resize_mode": 1}, ["a", "b"]),
        ({"endpoint": "extras", "image": "a", "resize_mode": 1, "upscaling_resize": 2.5}, ["a"]),
        ({"endpoint": "txt2img", "alwayson_scripts": {"x": {"args": [{"image": "a"}]}}}, ["a"]),
        ({"endpoint": "txt2img", "script_name": "x", "script_args": ["a", None]}, ["a"]),
    ],
)
def test_what_is_given_is_kept_and_nothing_is_added(payload: dict[str, Any], input_names: list[str]) -> None:
    assert check_payload("a1111", payload, input_names) == payload


@pytest.mark.parametrize(
    ("payload", "pointer", "words"),
    [
        ({}, "", "endpoint"),
        ({"endpoint": "txt3img"}, "/endpoint", "txt3img"),
        ({"endpoint": "txt2img", "promt": "a"}, "/promt", "did you mean 'prompt'?"),
        ({"endpoint": "txt2img", "force_task_id": "a"}, "/force_task_id", "unknown field"),
        ({"endpoint": "txt2img", "send_images": False}, "/send_images", "unknown field"),
        ({"endpoint": "txt2img", "steps": "20"}, "/steps", "int"),
        ({"endpoint": "txt2img", "steps": 0}, "/steps", ">= 1"),
        ({"endpoint": "txt2img", "denoising_strength": 2}, "/denoising_strength", "<= 1"),
        ({"endpoint": "txt2img", "mask": "a"}, "/mask", "txt2img has no field 'mask'"),
        ({"endpoint": "img2img", "init_images": ["a"], "hr_scale": 2}, "/hr_scale", "no field"),
        ({"endpoint": "extras", "image": "a", "prompt": "x"}, "/prompt", "no field"),
        ({"endpoint": "img2img"}, "", "needs 'init_images'"),
        ({"endpoint": "img2img", "init_images": []}, "/init_images", "length"),
        ({"endpoint": "extras"}, "", "needs 'image'"),
        ({"endpoint": "img2img", "init_images": ["a", "c"]}, "/init_images/1", "'c'"),
        ({"endpoint": "img2img", "init_images": ["a"], "mask": "iVBORw0KGgo" * 99}, "/mask", "upload the picture"),
        ({"endpoint": "extras", "image": "https://x/a.png"}, "/image", "one of the job's inputs"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(payload: dict[str, Any], pointer: str, words: str) -> None:
    fault = refused(payload, "a")
    assert fault.pointer == f"/payload{pointer}"
    assert words in fault.detail
    assert len(fault.detail) < 2500


def test_an_input_that_nothing_refers_to_is_refused() -> None:
    assert "'b'" in refused({"endpoint": "img2img", "init_images": ["a"]}, "a", "b").detail
