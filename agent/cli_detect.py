"""What `muster-agent detect` shows."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from agent.server_urls import shown
from shared.wire.worker import WorkerFacts

if TYPE_CHECKING:
    from agent.run import Surveyed

__all__ = ["json_of", "lines_of"]

#: keys of the capability document that are shown with the services
BY_SERVICE = frozenset({"services", "models", "nodes"})
#: so many models are shown by name
MOST_NAMES = 5


def json_of(found: "Surveyed") -> str:
    """`{"hostname", "faults", "remarks": {service: ...}, "workers": [{..., "servers": {service: URL}}]}`; no logins."""
    workers = [{**msgspec.to_builtins(worker), "servers": _servers(found, worker)} for worker in found.workers]
    machine = found.machine
    faults = (*machine.faults, *found.plan.faults)
    document = {"hostname": machine.hostname, "faults": faults, "remarks": found.remarks, "workers": workers}
    return msgspec.json.encode(document).decode()


def lines_of(found: "Surveyed") -> Iterator[str]:
    """The same for people."""
    yield from (*found.machine.faults, *found.plan.faults)
    for worker in found.workers:
        yield f"worker {worker.worker_id}"
        yield from (f"  {name}: {_text(value)}" for name, value in worker.capability.items() if name not in BY_SERVICE)
        servers = _servers(found, worker)
        for service in worker.capability.get("services", ()):
            yield f"  service {service}{_at(servers, service)}{_had(worker.capability, service)}"
        for service, reason in worker.suspended.items():
            yield f"  suspended {service}{_at(servers, service)}: {reason}"
    yield from (f"note: {remark}" for remark in found.remarks.values())


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()


def _servers(found: "Surveyed", worker: WorkerFacts) -> dict[str, str]:
    """Service → where the worker's instance is, of those that it shows."""
    offered = {*worker.capability.get("services", ()), *worker.suspended}
    ways = ((service, found.plan.instance(worker.worker_id, service)) for service in sorted(offered))
    return {service: shown(way.url) for service, way in ways if way is not None and way.url}


def _at(servers: Mapping[str, str], service: str) -> str:
    return f" at {servers[service]}" if service in servers else ""


def _had(capability: Mapping[str, Any], service: str) -> str:
    """`: 2 models (a, b), 640 nodes`; empty: it lists none."""
    models, nodes = (capability.get(kind, {}).get(service, ()) for kind in ("models", "nodes"))
    names = ", ".join(models[:MOST_NAMES]) + (", ..." if len(models) > MOST_NAMES else "")
    lists = [f"{len(models)} model(s) ({names})"] if models else []
    lists += [f"{len(nodes)} node(s)"] if nodes else []
    return f": {', '.join(lists)}" if lists else ""
