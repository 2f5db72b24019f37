"""The unavoidable minimum: the writes of a submit, a claim and a complete, and nothing else.

They are recorded from the broker itself and played back by functions without matching, checks or classes, with fixed
keys but for the job's id.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["library_of", "recorded_writes"]

#: commands that only read; everything else a function calls is a write
READS = frozenset(
    {"EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HMGET", "MGET", "SCARD", "SISMEMBER", "SMEMBERS", "SRANDMEMBER"}
    | {"STRLEN", "TIME", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZRANK", "ZSCORE"}
)
END = "benchmark-recorded"

#: `1795.123 [0 lua] "ZADD" "key" ...`
LINE = re.compile(r"^\S+ \[\d+ (\S+)\] (.*)$", re.DOTALL)
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')

Command = tuple[str, ...]


def recorded_writes(client: Any, call: Callable[[], object]) -> list[Command]:
    """The writes that functions make while `call` runs."""
    with client.monitor() as monitor:
        call()
        client.echo(END)
        return list(_writes_until_end(monitor.connection))


def _writes_until_end(connection: Any) -> Iterable[Command]:
    while True:
        found = LINE.match(connection.read_response().decode("latin-1"))
        if found is None:
            raise ValueError("MONITOR sent a line that isn't a command")
        words = tuple(_plain(word) for word in WORD.findall(found.group(2)))
        if END in words:
            return
        if found.group(1) == "lua" and words[0].upper() not in READS:
            yield words


def _plain(word: str) -> str:
    """A word as it was sent; the server escapes what isn't printable."""
    return word.encode("latin-1").decode("unicode_escape")


def library_of(parts: Iterable[tuple[str, list[Command], str]]) -> str:
    """A library with one function per `(name, writes, job id)`; the id in the writes becomes the first argument."""
    return "#!lua name=minimum\n" + "\n".join(_function(name, writes, job_id) for name, writes, job_id in parts)


def _function(name: str, writes: list[Command], job_id: str) -> str:
    calls = "\n".join(f"  redis.call({', '.join(_literal(word, job_id) for word in write)})" for write in writes)
    return f"redis.register_function('minimum_{name}', function(keys, args)\n  local id = args[1]\n{calls}\nend)"


def _literal(word: str, job_id: str) -> str:
    return " .. id .. ".join(_quoted(part) for part in word.split(job_id))


def _quoted(text: str) -> str:
    """A Lua literal of these bytes, one character each."""
    plain = (
        char if char.isascii() and char.isprintable() and char not in '"\\' else f"\\{ord(char):03d}" for char in text
    )
    return f'"{"".join(plain)}"'
