"""What a ComfyUI server has: its version, its models, its node classes, as a part of the worker's capability."""

import asyncio
from typing import Any

from agent.connectors.base import ServiceFault
from agent.connectors.comfyui.http import ComfyHttp

__all__ = ["nodes_of", "survey"]

#: folders of `/models` that hold no models
NOT_MODELS = frozenset({"configs", "custom_nodes"})


async def survey(http: ComfyHttp, service: str, nodes: list[str]) -> dict[str, Any]:
    """Models, nodes and version under the service's word.

    Args:
        http: the server.
        service: the word.
        nodes: from `nodes_of`.

    Example: `{"models": {"comfyui": ["sd_xl_base_1.0.safetensors"]}, "nodes": {"comfyui": ["KSampler"]}, ...}`

    Raises:
        ServiceFault: the server didn't answer.
    """
    stats = await http.get("system_stats")
    version = stats.get("system", {}).get("comfyui_version")
    models = await _models(http)
    versions = {"versions": {service: version}} if isinstance(version, str) else {}
    return {"models": {service: models}, "nodes": {service: nodes}, **versions}


async def nodes_of(http: ComfyHttp) -> list[str]:
    """Names of its node classes: an answer of megabytes. Raises: as `survey`."""
    return sorted(await http.get("object_info"))


async def _models(http: ComfyHttp) -> list[str]:
    """Names from all model folders; a server too old for `/models` lists none."""
    try:
        folders = [folder for folder in await http.get("models") if folder not in NOT_MODELS]
    except ServiceFault:
        return []
    lists = await asyncio.gather(*(_names(http, folder) for folder in folders))
    return sorted({name for names in lists for name in names})


async def _names(http: ComfyHttp, folder: str) -> list[str]:
    try:
        names = await http.get(f"models/{folder}")
    except ServiceFault:
        return []
    return [name for name in names if isinstance(name, str)]
