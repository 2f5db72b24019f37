"""The checkpoints a server has, and by which names jobs ask for them. Pure, but for the one question.

- A checkpoint is known by its file's name, the same without suffix, its title (with the hash) and its hashes.
- Asked for a checkpoint that it doesn't know, the web UI silently uses another one: so it is never asked for such.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from agent.connectors.a1111.verdict import fault_of, json_of
from agent.connectors.base import ServiceFault
from agent.connectors.service_http import ServiceHttp
from shared.wire.states import FailureClass

__all__ = ["Model", "checkpoint", "list_models", "names"]

#: as the server lists it: `{"title", "model_name", "filename", "hash", "sha256", "config"}`
Model = dict[str, Any]

MODELS_PATH = "sdapi/v1/sd-models"
SHORT_NAMES = ("title", "model_name")
HASHES = ("hash", "sha256")


async def list_models(http: ServiceHttp) -> list[Model] | None:
    """The server's checkpoints; None: it doesn't tell.

    Raises:
        ServiceFault: no answer, a refusal, or no such list.
    """
    response = await http.request("GET", MODELS_PATH)
    if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return None
    if response.status_code != HTTPStatus.OK:
        raise fault_of(response)
    models = json_of(response)
    if not isinstance(models, list):
        raise ServiceFault(FailureClass.SERVICE, "the A1111 server's list of models is none")
    return [model for model in models if isinstance(model, dict)]


def names(models: list[Model]) -> list[str]:
    """What jobs can ask for, without the hashes."""
    return sorted({name for model in models for name in _names(model)})


async def checkpoint(http: ServiceHttp, wanted: str) -> str:
    """What to call a checkpoint in a request.

    Raises:
        ServiceFault: class `unfit`: the server hasn't got it.
    """
    models = await list_models(http)
    if models is None:
        return wanted
    for model in models:
        if wanted in (*_names(model), *(model.get(key) for key in HASHES)):
            return str(model.get("title") or model.get("model_name") or wanted)
    raise ServiceFault(FailureClass.UNFIT, f"the A1111 server hasn't got the model '{wanted}'")


def _names(model: Model) -> Iterator[str]:
    yield from (model[key] for key in SHORT_NAMES if isinstance(model.get(key), str) and model[key])
    if isinstance(model.get("filename"), str):
        yield re.split(r"[/\\]", model["filename"])[-1]
