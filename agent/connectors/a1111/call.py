"""The request a job's payload becomes. Pure.

- Names of inputs become base64 where a picture belongs, and in the arguments of scripts.
- The checkpoint stays loaded after the job; other settings that the job overrides are put back.
"""

from collections.abc import Mapping
from typing import Any

from agent.connectors.base import Assignment, ServiceFault
from shared.wire.a1111 import INPUT_TREES
from shared.wire.states import FailureClass

__all__ = ["PATHS", "body_of", "model_of", "task_id_of"]

PATHS = {
    "txt2img": "sdapi/v1/txt2img",
    "img2img": "sdapi/v1/img2img",
    "extras": "sdapi/v1/extra-single-image",
}
#: the call that makes no use of a checkpoint, and has no task
EXTRAS = "extras"
CHECKPOINT = "sd_model_checkpoint"
PICTURE_FIELDS = ("init_images", "mask", "image", *INPUT_TREES)


def task_id_of(assignment: Assignment) -> str | None:
    """By which the server tells the job's progress; None: such calls have no task."""
    return None if assignment.payload["endpoint"] == EXTRAS else f"{assignment.job_id}-{assignment.fence}"


def model_of(assignment: Assignment) -> str | None:
    """The checkpoint the job asks for.

    Raises:
        ServiceFault: class `bad_input`: it asks for two.
    """
    if assignment.payload["endpoint"] == EXTRAS:
        return None
    override = assignment.payload.get("override_settings", {}).get(CHECKPOINT)
    if assignment.model and override and assignment.model != override:
        sentence = f"the job's model is '{assignment.model}', but its override_settings.{CHECKPOINT} is '{override}'"
        raise ServiceFault(FailureClass.BAD_INPUT, sentence)
    return assignment.model or (None if override is None else str(override))


def body_of(assignment: Assignment, pictures: Mapping[str, str], checkpoint: str | None) -> dict[str, Any]:
    """The request's body.

    Args:
        assignment: the job.
        pictures: input name → base64.
        checkpoint: what the server calls the model; None: the one that is loaded.
    """
    fields = {name: value for name, value in assignment.payload.items() if name != "endpoint"}
    body = {name: _filled(value, pictures) if name in PICTURE_FIELDS else value for name, value in fields.items()}
    task_id = task_id_of(assignment)
    if task_id is None:
        return body
    body |= {"force_task_id": task_id, "send_images": True}
    if checkpoint is not None:
        others = {key: value for key, value in body.get("override_settings", {}).items() if key != CHECKPOINT}
        body["override_settings"] = {**others, CHECKPOINT: checkpoint}
        body["override_settings_restore_afterwards"] = bool(others)
    return body


def _filled(value: Any, pictures: Mapping[str, str]) -> Any:
    """The value with every text that is exactly an input's name replaced."""
    if isinstance(value, str):
        return pictures.get(value, value)
    if isinstance(value, dict):
        return {key: _filled(item, pictures) for key, item in value.items()}
    return [_filled(item, pictures) for item in value] if isinstance(value, list) else value
