"""Every Redis key Muster writes: name, type, who writes it, how long it lives.

One hash tag per pool, so that a pool is one Cluster slot. `CATALOGUE` is the list a test holds the store against;
the function library builds the same names in `shared/lua/12_keys.lua`.
"""

import re
from dataclasses import dataclass

__all__ = ["CATALOGUE", "HUB", "KeyKind", "agent_wake_key", "known", "pool_key", "pool_of"]

#: the hash tag of hub-wide keys; no pool may be called so (pool names have no such tag form in job ids)
HUB = "hub"


@dataclass(frozen=True)
class KeyKind:
    """One kind of key."""

    #: the part after `muster:{pool}:`; `<x>` stands for one id
    name: str
    type: str
    writer: str
    life: str


#: kinds of keys of a pool
CATALOGUE: tuple[KeyKind, ...] = (
    KeyKind("pool", "string", "functions", "permanent"),
    KeyKind("seq", "string", "submit", "permanent"),
    KeyKind("job:<id>", "string", "functions", "until pruned"),
    KeyKind("spec:<id>", "string", "submit", "until pruned"),
    KeyKind("payload:<id>", "string", "submit", "until pruned"),
    KeyKind("result:<id>", "string", "complete", "until pruned"),
    KeyKind("history:<id>", "string", "functions", "until pruned"),
    KeyKind("dependants:<id>", "set", "submit", "until told, or pruned"),
    KeyKind("idem:<digest>", "string", "submit", "24 h"),
    KeyKind("jobs:<service>:<state>", "zset", "functions", "while jobs are kept"),
    KeyKind("customer:<id>", "zset", "functions", "while jobs are kept"),
    KeyKind("steps:<workflow>", "zset", "functions", "while jobs are kept"),
    KeyKind("services", "set", "submit", "permanent"),
    KeyKind("class:<n>", "hash", "functions", "until ten minutes unused"),
    KeyKind("service-classes:<service>", "zset", "functions", "while there are classes"),
    KeyKind("waiting:<n>", "zset", "functions", "while jobs wait"),
    KeyKind("heads", "zset", "functions", "permanent"),
    KeyKind("heads:<identity>", "zset", "functions", "while jobs wait"),
    KeyKind("rises", "zset", "functions", "permanent"),
    KeyKind("rise-seq", "string", "functions", "permanent"),
    KeyKind("unworkable", "zset", "functions", "permanent"),
    KeyKind("unexamined", "zset", "functions", "permanent"),
    KeyKind("asked:<identity>", "zset", "functions", "while there are such classes"),
    KeyKind("asked:another", "zset", "functions", "while there are such classes"),
    KeyKind("witness:<n>", "set", "functions", "with the worker class"),
    KeyKind("workflow:<id>", "string", "submit", "7 days after the last submit"),
    KeyKind("significant", "set", "register", "permanent"),
    KeyKind("paused", "set", "pause, resume", "permanent"),
    KeyKind("worker:<id>", "hash", "register", "until gone"),
    KeyKind("workers", "zset", "register", "permanent"),
    KeyKind("addressees:<identity>", "set", "register", "until the worker is gone"),
    KeyKind("failing", "set", "fail, complete", "while a worker fails its jobs"),
    KeyKind("completed:<n>", "string", "complete", "1 h"),
    KeyKind("wclass:<n>", "hash", "register", "until ten minutes after its last worker"),
    KeyKind("wclasses", "zset", "register", "permanent"),
    KeyKind("wclass-workers:<n>", "set", "register", "while workers are of it"),
    KeyKind("seen:<n>", "string", "claim", "ten minutes unused"),
    KeyKind("feasible:<n>", "zset", "claim", "ten minutes unused"),
    KeyKind("parked", "zset", "claim, wake", "permanent"),
    KeyKind("parked:<n>", "zset", "claim, wake", "while workers are parked"),
    KeyKind("agent:<id>", "hash", "register, heartbeat", "until gone"),
    KeyKind("agents", "zset", "register, heartbeat", "permanent"),
    KeyKind("lost-agents", "zset", "functions", "permanent"),
    KeyKind("agent-workers:<id>", "set", "register", "with the agent"),
    KeyKind("wake:<agent>", "list", "wake", "60 s"),
    KeyKind("watched:<id>", "string", "hub", "30 s"),
    KeyKind("timers", "zset", "functions", "permanent"),
    KeyKind("chores", "zset", "functions", "permanent"),
    KeyKind("beat", "hash", "functions", "permanent"),
    KeyKind("events", "stream", "functions; hub (webhook.disabled)", "trimmed by length and age"),
)

_HUB_CATALOGUE: tuple[KeyKind, ...] = (
    KeyKind("pools", "set", "hub", "permanent"),
    KeyKind("own-leases", "set", "hub", "permanent"),
    KeyKind("key:<digest>", "hash", "hub", "until revoked or expired"),
    KeyKind("keys", "set", "hub", "permanent"),
    KeyKind("token:<digest>", "hash", "hub", "until revoked or expired"),
    KeyKind("tokens", "set", "hub", "permanent"),
    KeyKind("identity:<digest>", "hash", "hub", "until revoked"),
    KeyKind("identities", "hash", "hub", "permanent"),
    KeyKind("session:<digest>", "string", "hub", "12 h"),
    KeyKind("ticket:<digest>", "string", "hub", "30 s"),
    KeyKind("artifact:<id>", "hash", "hub", "7 days"),
    KeyKind("audit", "stream", "hub", "trimmed by length"),
    KeyKind("rate:<key>:<minute>", "string", "hub", "2 minutes"),
    KeyKind("webhooks", "hash", "hub", "permanent"),
    KeyKind("webhook-secrets", "hash", "hub", "permanent"),
    KeyKind("webhooks-disabled", "hash", "hub", "permanent"),
    KeyKind("webhook-pools", "set", "hub", "permanent"),
    KeyKind("webhook-figures:<id>", "hash", "hub", "30 days after the last attempt"),
    KeyKind("webhook-lanes", "zset", "hub", "permanent"),
    KeyKind("webhook-lease:<lane>", "string", "hub", "25 s, or as long as a server asks for a rest"),
    KeyKind("webhook-queue:<lane>", "zset", "hub", "while deliveries wait"),
    KeyKind("webhook-log:<id>", "zset", "hub", "7 days after the last entry"),
    KeyKind("delivery:<id>", "string", "hub", "7 days"),
)


def pool_key(pool: str, name: str) -> str:
    """`muster:{<pool>}:<name>`."""
    return f"muster:{{{pool}}}:{name}"


def pool_of(key: str) -> str:
    """The pool's name in a key of it."""
    return key.split("{", 1)[1].split("}", 1)[0]


def agent_wake_key(pool: str, agent_id: str) -> str:
    """The list an agent waits on for wakes and commands."""
    return pool_key(pool, f"wake:{agent_id}")


def _pattern(kind: KeyKind) -> str:
    return "".join(".+" if part.startswith("<") else re.escape(part) for part in re.split(r"(<[a-z]+>)", kind.name))


_POOL_KEYS = re.compile(r"muster:\{[a-z0-9]{1,32}\}:(?:" + "|".join(map(_pattern, CATALOGUE)) + ")")
_HUB_KEYS = re.compile(r"muster:\{hub\}:(?:" + "|".join(map(_pattern, _HUB_CATALOGUE)) + ")")


def known(key: str) -> bool:
    """Does the catalogue know this key?"""
    return bool(_POOL_KEYS.fullmatch(key) or _HUB_KEYS.fullmatch(key))
