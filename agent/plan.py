"""Which workers the agent has, and which instance of each service each of them uses. Pure.

- An instance serves one GPU: the slots of one worker share it, and so do workers without a GPU; workers of other GPUs
  don't offer the service. Who comes first in the order of the workers has it.
- `OPENAI_CONCURRENCY` says instead how many workers share an instance, of whatever GPU: it queues or batches.
- A service without a server of its own address (`command`, `simulation`, `[[http]]`) is every worker's.
- Nothing is left out silently: `remarks` say by service what isn't as it may have been meant, and what to do.
- All faults of the tables are told at once.
"""

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.config import AgentConfig
from agent.server_urls import listed, server_of, shown
from agent.worker_settings import WorkerTable
from shared.errors import Misconfigured

__all__ = ["SERVED", "Instance", "Plan", "PlannedWorker", "plan_of"]

#: the store takes no more from an agent (shared/lua/00_header.lua): its calls stay short
MOST_WORKERS = 64

#: services that have a server, whose address is the setting `<service>_url`
SERVED = ("a1111", "comfyui", "openai")


class Instance(NamedTuple):
    """One instance of a service."""

    service: str
    #: where its server is; empty: it has none, or its connector knows
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class PlannedWorker:
    """One worker as configured."""

    worker_id: str
    agent_id: str
    #: places of its GPUs; empty: it has none
    gpus: tuple[int, ...] = ()
    #: service → the instance it uses
    instances: Mapping[str, Instance] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    #: laid over its document last
    capability: Mapping[str, Any] = field(default_factory=dict)
    #: requirement on jobs
    accepts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All workers of an agent."""

    agent_id: str
    workers: tuple[PlannedWorker, ...]
    #: instances that an operator named the service of: offered also while they are down
    named: frozenset[Instance] = frozenset()
    #: service → a sentence for people
    remarks: Mapping[str, str] = field(default_factory=dict)
    #: what can't be as the tables say, in sentences for people
    faults: tuple[str, ...] = ()

    @property
    def users(self) -> Mapping[Instance, int]:
        """Instance → how many workers may send it jobs, in the order of the workers."""
        return Counter(instance for worker in self.workers for instance in worker.instances.values())

    def instance(self, worker_id: str, service: str) -> Instance | None:
        """What the worker uses; None: it doesn't offer the service, or there is no such worker."""
        found = (worker.instances.get(service) for worker in self.workers if worker.worker_id == worker_id)
        return next(found, None)


@dataclass(frozen=True)
class _Draft:
    """A worker before it is known which instances it gets."""

    worker_id: str
    table: WorkerTable
    services: Sequence[str]


def plan_of(config: AgentConfig, known: Collection[str], *, gpu_count: int, agent_id: str) -> Plan:
    """The workers.

    Args:
        config: the operator's word.
        known: services that there are connectors for; all are looked for where none is named.
        gpu_count: of the machine, faulty ones counted.
        agent_id: the enrolled id.

    Raises:
        Misconfigured: one line a fault, all of them.
    """
    tables = config.worker or _stock_tables(gpu_count)
    usual = list(dict.fromkeys(sorted(known) if config.services is None else config.services))
    faults = [*_unknown(usual, known, "SERVICES"), *_faults(tables, usual, known)]
    drafts = [
        _Draft(worker_id, table, list(dict.fromkeys(usual if table.services is None else table.services)))
        for place, table in enumerate(tables)
        for worker_id in _worker_ids(agent_id, place, tables)
    ]
    faults += [f"two workers would be {name}: name the [[worker]] tables" for name in _twice(drafts)]
    binding = _Binding(config)
    faults += binding.bind(drafts)
    faults += _too_many(drafts)
    if faults:
        raise Misconfigured("\n".join(faults))
    workers = tuple(_planned(draft, agent_id, binding.of[draft.worker_id], config) for draft in drafts)
    return Plan(
        agent_id=agent_id,
        workers=workers,
        named=_named(drafts, binding, config),
        remarks=binding.remarks(),
        faults=tuple(_without_gpu(workers, gpu_count)),
    )


def _stock_tables(gpu_count: int) -> list[WorkerTable]:
    return [WorkerTable(gpus=[gpu]) for gpu in range(gpu_count)] or [WorkerTable(gpus=[])]


def _worker_ids(agent_id: str, place: int, tables: Sequence[WorkerTable]) -> list[str]:
    table = tables[place]
    if len(tables) == 1 and table.slots == 1 and table.name is None:
        return [agent_id]
    name = f"{agent_id}-{place if table.name is None else table.name}"
    return [name] if table.slots == 1 else [f"{name}.{slot}" for slot in range(table.slots)]


def _twice(drafts: Sequence[_Draft]) -> list[str]:
    return [name for name, count in Counter(draft.worker_id for draft in drafts).items() if count > 1]


def _planned(draft: _Draft, agent_id: str, instances: Mapping[str, Instance], config: AgentConfig) -> PlannedWorker:
    table = draft.table
    return PlannedWorker(
        worker_id=draft.worker_id,
        agent_id=agent_id,
        gpus=tuple(table.gpus),
        instances=instances,
        labels={**config.labels, **table.labels},
        capability=table.capability,
        accepts=config.accepts if table.accepts is None else table.accepts,
    )


def _without_gpu(workers: Sequence[PlannedWorker], gpu_count: int) -> Iterator[str]:
    for worker in workers:
        missing = ", ".join(str(place) for place in worker.gpus if place >= gpu_count)
        if missing:
            seen = f"shows {gpu_count}, counted from 0" if gpu_count else "shows none"
            yield f"worker {worker.worker_id} is to have GPU {missing}, the machine {seen}; correct gpus of its table"


def _named(drafts: Sequence[_Draft], binding: "_Binding", config: AgentConfig) -> frozenset[Instance]:
    named = (draft for draft in drafts if draft.table.services is not None or config.services is not None)
    return frozenset(instance for draft in named for instance in binding.of[draft.worker_id].values())


# -- faults ----------------------------------------------------------------------------------------------------------


def _faults(tables: Sequence[WorkerTable], usual: Sequence[str], known: Collection[str]) -> Iterator[str]:
    for place, table in enumerate(tables):
        where = f"worker.{place}"
        yield from _unknown(table.services or (), known, f"{where}.services")
        offered = [service for service in table.services or usual if service in SERVED]
        for service in table.urls:
            if service not in offered:
                wanted = f"one of {', '.join(offered)}" if offered else "no service: none of its own has a server"
                yield f"expected {where}.urls to name {wanted}, got '{service}'; or add that to its services"


def _too_many(drafts: Sequence[_Draft]) -> Iterator[str]:
    if len(drafts) > MOST_WORKERS:
        remedy = "give the [[worker]] tables fewer slots, or start a second agent"
        yield f"expected at most {MOST_WORKERS} workers of an agent, got {len(drafts)}: {remedy}"


def _unknown(services: Collection[str], known: Collection[str], place: str) -> Iterator[str]:
    for service in services:
        if service in known:
            continue
        if service == "http":
            yield f"service 'http' ({place}) needs an [[http]] table in the agent's file; name the table's `service`"
            continue
        near = difflib.get_close_matches(service, known, n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(known))}"
        yield f"unknown service '{service}' ({place}): {remedy}"


# -- who uses what ---------------------------------------------------------------------------------------------------


class _Binding:
    """Gives instances to workers. Args: config: says where they are."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        #: worker id → service → its instance
        self.of: dict[str, dict[str, Instance]] = {}
        #: instance → who uses it
        self._users: dict[Instance, list[_Draft]] = {}
        #: service → ids of workers that do without, and the instance they would share
        self._without: dict[str, list[str]] = {}
        self._shared: dict[str, Instance] = {}
        self._drafts: Sequence[_Draft] = ()

    def bind(self, drafts: Sequence[_Draft]) -> list[str]:
        """Give each worker what it can have; what is wrong with the addresses."""
        self._drafts = drafts
        faults: dict[str, str] = {}
        for draft in drafts:
            self.of[draft.worker_id] = {}
            for service in draft.services:
                try:
                    self._bind(draft, service)
                except ValueError as error:
                    wanted = f"expected {_setting(draft, service)} to have a host, and a port of 1-65535"
                    faults.setdefault(wanted, f"{wanted}, got {error}; correct it")
        return list(faults.values())

    def _bind(self, draft: _Draft, service: str) -> None:
        url = self._url(draft, service) if service in SERVED else ""
        instance = None if url is None else Instance(service, url)
        if instance is not None and (service not in SERVED or self._may_use(instance, draft)):
            self._users.setdefault(instance, []).append(draft)
            self.of[draft.worker_id][service] = instance
            return
        self._without.setdefault(service, []).append(draft.worker_id)
        if instance is not None:
            self._shared.setdefault(service, instance)

    def _url(self, draft: _Draft, service: str) -> str | None:
        urls = draft.table.urls.get(service) or getattr(self._config, f"{service}_url")
        return server_of(urls, draft.table.gpus[0] if draft.table.gpus else 0)

    def _may_use(self, instance: Instance, draft: _Draft) -> bool:
        users = self._users.get(instance, [])
        if instance.service == "openai" and self._config.openai_concurrency is not None:
            return len(users) < self._config.openai_concurrency
        return not users or sorted(users[0].table.gpus) == sorted(draft.table.gpus)

    def remarks(self) -> dict[str, str]:
        """What isn't as it may have been meant, by service."""
        lines = {service: [*self._remarks(service)] for service in SERVED}
        return {service: "; ".join(found) for service, found in lines.items() if found}

    def _remarks(self, service: str) -> Iterator[str]:
        without = self._without.get(service)
        if without:
            yield f"{service} isn't offered by {', '.join(without)}: {self._why(service)}"
        unused = [url for url in listed(getattr(self._config, f"{service}_url"))[1:] if not self._is_used(service, url)]
        if unused and any(service in draft.services for draft in self._drafts):
            yield f"no worker uses {', '.join(map(shown, unused))} ({service.upper()}_URL): there is no GPU for it"
        yield from self._unreached(service)

    def _why(self, service: str) -> str:
        setting = f"{service.upper()}_URL"
        shared = self._shared.get(service)
        if shared is None:
            return f"{setting} lists no instance for their GPUs; add them"
        users = ", ".join(user.worker_id for user in self._users[shared])
        many = ", or say how many workers it serves at once (OPENAI_CONCURRENCY)" if service == "openai" else ""
        why = f"{shown(shared.url)} is used by {users} alone"
        return f"{why}; start an instance per GPU and list them in {setting}, or with {{gpu}} in it{many}"

    def _is_used(self, service: str, url: str) -> bool:
        return "{" in url or Instance(service, url.rstrip("/")) in self._users

    def _unreached(self, service: str) -> Iterator[str]:
        wanted = self._config.openai_concurrency or 1
        most = max((len(users) for instance, users in self._users.items() if instance.service == service), default=0)
        if service == "openai" and 0 < most < wanted:
            got = f"openai gets at most {most} job(s) at once on a server, not {wanted} (OPENAI_CONCURRENCY)"
            yield f"{got}: each worker does one at a time; give a [[worker]] table slots"


def _setting(draft: _Draft, service: str) -> str:
    return f"urls.{service} of a [[worker]] table" if service in draft.table.urls else f"{service.upper()}_URL"
