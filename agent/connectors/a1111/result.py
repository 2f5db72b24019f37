"""The answer of a call that went well, as a job's result.

- `info` is JSON within a string; sd-server leaves it empty.
- A grid that stands before the pictures isn't one of them.
"""

from typing import Any

import msgspec

from agent.connectors.a1111.pictures import save_pictures
from agent.connectors.base import Assignment, Finished, ServiceFault
from shared.wire.states import FailureClass

__all__ = ["finished"]


def finished(content: bytes, assignment: Assignment) -> Finished:
    """What the server says of the pictures as values, the pictures as outputs.

    Args:
        content: the answer's body: `{"images": [base64], "parameters": {...}, "info": "{...}"}`, or, of a picture
            that was only worked over, `{"image": base64, "html_info": "..."}`.
        assignment: the job.

    Raises:
        ServiceFault: class `service`: there are no pictures, or fewer than were asked for.
    """
    answer = _decoded(content)
    assignment.output_dir.mkdir(parents=True, exist_ok=True)
    if "image" in answer:
        outputs = save_pictures(_texts([answer["image"]]), assignment.output_dir)
        return Finished(values={"html_info": answer.get("html_info") or ""}, outputs=outputs)
    info = _info(answer.get("info"))
    pictures = _texts(answer.get("images"))[_first_index(info) :]
    _require_enough(len(pictures), info, assignment)
    return Finished(values={"info": info} if info else {}, outputs=save_pictures(pictures, assignment.output_dir))


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = None
    if not isinstance(answer, dict):
        raise ServiceFault(FailureClass.SERVICE, "the A1111 server's answer isn't the JSON it should be")
    return answer


def _texts(pictures: Any) -> list[str]:
    return [text for text in pictures if isinstance(text, str)] if isinstance(pictures, list) else []


def _info(text: Any) -> dict[str, Any]:
    try:
        info = msgspec.json.decode(text) if isinstance(text, str) else text
    except msgspec.DecodeError:
        info = None
    return info if isinstance(info, dict) else {}


def _first_index(info: dict[str, Any]) -> int:
    index = info.get("index_of_first_image")
    return index if type(index) is int and index > 0 else 0


def _require_enough(count: int, info: dict[str, Any], assignment: Assignment) -> None:
    """Each seed makes a picture, unless a script has ideas of its own."""
    seeds = info.get("all_seeds")
    wanted = len(seeds) if isinstance(seeds, list) and "script_name" not in assignment.payload else 1
    if count < max(wanted, 1):
        message = f"the A1111 server made {count} of {max(wanted, 1)} pictures; did somebody interrupt it?"
        raise ServiceFault(FailureClass.SERVICE, message)
