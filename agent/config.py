"""The agent's settings: every name an operator can set, with its default.

- Read by `shared.config.load`: flag, environment, TOML file, default, in this order.
- The environment's names are fixed by the product's interface; fields without one are set in the file only.
- This file decides nothing about the machine: what is None here is detected.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agent.http_settings import HttpService
from agent.server_urls import FORM, SERVER_URLS
from agent.worker_settings import WorkerTable
from shared import config_paths

__all__ = ["AgentConfig", "CommandConfig", "state_dir", "usual_state_dir"]

HTTP_URL = "^https?://"
WEBSOCKET_URL = "^wss?://"
STORE_URL = "^(rediss?|unix)://"
#: what can stand in a URL's path and in a key of the store
ID = r"^[^\s/{}]{1,128}$"
POOL = "^[a-z0-9]{1,32}$"
#: user and password of HTTP Basic
LOGIN = "^[^:]+:."
#: the same; or a scheme and its credentials; or a header
COMFYUI_LOGIN = r"^([^:\s]+:\S.*|[A-Za-z0-9-]+:? [!-~][ -~]*)$"
#: what can stand in an HTTP header
KEY = "^[!-~]+$"

#: where the instances of a service are
ServerUrls = Annotated[str, Meta(pattern=SERVER_URLS, extra={"form": FORM})]
#: a URL over HTTP
HttpUrl = Annotated[str, Meta(pattern=HTTP_URL)]
#: above 0, in GiB
SizeGb = Annotated[float, Meta(gt=0)]


class CommandConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[command]` table: which programs jobs may run."""

    #: program names (found on PATH) or absolute paths
    allow: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(description='programs that `command` jobs may run: ["ffmpeg", "/usr/bin/convert"]; empty: none'),
    ] = msgspec.field(default_factory=list)


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an operator can set on an agent."""

    hub_url: Annotated[
        HttpUrl | None, Meta(description="where the hub is: https://hub.example:3001", extra={"env": "HUB_URL"})
    ] = None
    hub_redis_url: Annotated[
        Annotated[str, Meta(pattern=STORE_URL)] | None,
        Meta(
            description="the store, when the agent is to reach it at another address than the hub tells",
            extra={"env": "HUB_REDIS_URL", "secret": True, "default": "what the hub tells"},
        ),
    ] = None
    hub_ws_url: Annotated[
        Annotated[str, Meta(pattern=WEBSOCKET_URL)] | None,
        Meta(
            description="where the hub takes WebSockets, when it isn't HUB_URL: wss://hub.example:3002",
            extra={"env": "HUB_WS_URL", "default": "from HUB_URL"},
        ),
    ] = None
    hub_auth_token: Annotated[
        str | None,
        Meta(
            description="enrolment token, or a key with the scope agents:enroll",
            extra={"env": "HUB_AUTH_TOKEN", "secret": True},
        ),
    ] = None

    worker_id: Annotated[
        Annotated[str, Meta(pattern=ID)] | None,
        Meta(
            description="names the agent; its workers are ID when there is one, else ID-0, ID-1, ...",
            extra={"env": "WORKER_ID", "default": "given at enrolment"},
        ),
    ] = None
    worker_type: Annotated[
        str | None, Meta(description="becomes the capability `type`", extra={"env": "WORKER_TYPE"})
    ] = None
    pools: Annotated[
        list[Annotated[str, Meta(pattern=POOL)]],
        Meta(min_length=1, description="pools whose jobs are claimed", extra={"env": "POOLS"}),
    ] = msgspec.field(default_factory=lambda: ["default"])
    services: Annotated[
        list[str] | None,
        Meta(
            description="services to offer, also while they are down; not set: simulation, and each one found",
            extra={"env": "SERVICES", "default": "simulation and what is found"},
        ),
    ] = None
    comfyui_url: Annotated[
        ServerUrls,
        Meta(
            description="the ComfyUI server of each GPU: one URL, a list in the order of the GPUs, or with {8188+gpu}",
            extra={"env": "COMFYUI_URL"},
        ),
    ] = "http://localhost:8188"
    comfyui_auth: Annotated[
        Annotated[str, Meta(pattern=COMFYUI_LOGIN)] | None,
        Meta(
            description="login for what stands before ComfyUI: user:password, Bearer TOKEN, or a header X-Api-Key: KEY",
            extra={"env": "COMFYUI_AUTH", "secret": True},
        ),
    ] = None
    a1111_url: Annotated[
        ServerUrls,
        Meta(
            description="the A1111 server, or one that speaks its API (started with --api); or several, as COMFYUI_URL",
            extra={"env": "A1111_URL"},
        ),
    ] = "http://localhost:7860"
    a1111_auth: Annotated[
        Annotated[str, Meta(pattern=LOGIN)] | None,
        Meta(
            description="user:password of the A1111 server (its --api-auth)",
            extra={"env": "A1111_AUTH", "secret": True},
        ),
    ] = None

    openai_url: Annotated[
        ServerUrls,
        Meta(
            description="the OpenAI-compatible server; its API is at /v1 unless the URL has a path of its own; "
            "or several, as COMFYUI_URL",
            extra={"env": "OPENAI_URL"},
        ),
    ] = "http://localhost:8000"
    openai_api_key: Annotated[
        Annotated[str, Meta(pattern=KEY)] | None,
        Meta(
            description="key for the OpenAI-compatible server, where it wants one",
            extra={"env": "OPENAI_API_KEY", "secret": True},
        ),
    ] = None
    openai_models: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(
            description="models of that server beside those it lists; the first is for jobs that name none",
            extra={"env": "OPENAI_MODELS"},
        ),
    ] = msgspec.field(default_factory=list)
    openai_concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | None,
        Meta(
            description="workers that share such a server; above 1 only if it queues or batches (vLLM); at most 64",
            extra={"env": "OPENAI_CONCURRENCY", "default": "those of one GPU"},
        ),
    ] = None
    probe_interval_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="how often services are asked whether they are well, and for their models",
            extra={"env": "PROBE_INTERVAL_S"},
        ),
    ] = 30.0

    gpu_count: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="GPUs to use; 0: none", extra={"env": "GPU_COUNT", "default": "detected"}),
    ] = None
    gpu_memory_gb: Annotated[
        SizeGb | None,
        Meta(description="memory of each GPU in GiB", extra={"env": "GPU_MEMORY_GB", "default": "detected"}),
    ] = None
    gpu_model: Annotated[
        str | None, Meta(description="model of each GPU", extra={"env": "GPU_MODEL", "default": "detected"})
    ] = None
    cpu_cores: Annotated[
        Annotated[int, Meta(gt=0)] | None,
        Meta(description="physical cores", extra={"env": "CPU_CORES", "default": "detected"}),
    ] = None
    ram_gb: Annotated[
        SizeGb | None, Meta(description="memory in GiB", extra={"env": "RAM_GB", "default": "detected"})
    ] = None

    cloud_metadata: Annotated[
        bool,
        Meta(
            description="ask the cloud, if this is one, for region, zone and instance type (at most 0.2 s)",
            extra={"env": "AGENT_CLOUD_METADATA"},
        ),
    ] = True
    state_dir: Annotated[
        Path | None,
        Meta(
            description="where identity, spool and versions are kept",
            extra={"env": "AGENT_STATE_DIR", "default": "/var/lib/muster-agent or ~/.local/state/muster/agent"},
        ),
    ] = None
    spool_max_gb: Annotated[
        SizeGb,
        Meta(
            description="results that wait to be delivered; with more, in GiB, no job is taken",
            extra={"env": "SPOOL_MAX_GB"},
        ),
    ] = 20.0
    spool_min_free_gb: Annotated[
        Annotated[float, Meta(ge=0)],
        Meta(
            description="what the disk of AGENT_STATE_DIR must have free; with less, in GiB, no job is taken",
            extra={"env": "SPOOL_MIN_FREE_GB"},
        ),
    ] = 1.0
    drain_timeout_s: Annotated[
        float,
        Meta(
            ge=0,
            description="how long running jobs may finish when the agent stops; the rest are released",
            extra={"env": "AGENT_DRAIN_TIMEOUT_S"},
        ),
    ] = 600.0

    connectors_dir: Annotated[
        Path | None,
        Meta(
            description="Python files with connectors of your own, see connectors.md",
            extra={"env": "AGENT_CONNECTORS_DIR", "default": "connectors.d in AGENT_STATE_DIR"},
        ),
    ] = None

    labels: Annotated[dict[str, str], Meta(description="labels of the workers, for jobs to ask for")] = msgspec.field(
        default_factory=dict
    )
    capability: Annotated[dict[str, Any], Meta(description="laid over the detected capability document; any keys")] = (
        msgspec.field(default_factory=dict)
    )
    accepts: Annotated[
        dict[str, Any], Meta(description="requirement on jobs: service, customer_id, labels.*, workflow.id")
    ] = msgspec.field(default_factory=dict)
    worker: Annotated[
        list[WorkerTable], Meta(description="[[worker]] tables: the workers, where they aren't one per GPU; see below")
    ] = msgspec.field(default_factory=list)
    http: Annotated[
        list[HttpService], Meta(description="[[http]] tables: services over HTTP, each under a word of its own")
    ] = msgspec.field(default_factory=list)
    plugins: Annotated[
        dict[str, dict[str, Any]], Meta(description="settings of connectors of your own: [plugins.SERVICE]")
    ] = msgspec.field(default_factory=dict)
    command: Annotated[CommandConfig, Meta(description="the command service")] = msgspec.field(
        default_factory=CommandConfig
    )


def state_dir(config: AgentConfig, *, environ: Mapping[str, str], root: bool) -> Path:
    """The folder that holds the agent's identity, spool and versions; it may not exist yet.

    Args:
        config: a folder set there wins.
        environ: for `XDG_STATE_HOME` and `HOME`.
        root: does the agent run as root?
    """
    return config.state_dir or usual_state_dir(environ=environ, root=root)


def usual_state_dir(*, environ: Mapping[str, str], root: bool) -> Path:
    """The same where none is configured."""
    return config_paths.state_dir("agent", environ=environ, root=root)
