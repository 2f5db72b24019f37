"""One request to a webhook: names that mean private addresses, names that change, servers that misbehave."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from hub.webhooks.schedule import Answer
from hub.webhooks.sender import Resolve, Sender, SystemNames
from tests.support.certificate import certificate
from tests.support.webhook_receiver import Receiver, receiving

LOOPBACK = [ip_network("127.0.0.0/8")]
HEADERS = {"webhook-id": "msg_1"}


class Names:
    """A resolver that says what it is told, one answer after the other, and counts."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def sender(resolve: Resolve, *, timeout_s: float = 5.0, allowed: bool = True) -> AsyncIterator[Sender]:
    async with Sender(LOOPBACK if allowed else [], resolve, timeout_s=timeout_s) as one:
        yield one


async def sent(to: Sender, url: str) -> Answer:
    return await to.send(url, HEADERS, b"{}")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


def port_of(receiver: Receiver) -> str:
    return receiver.url.rsplit(":", 1)[1].partition("/")[0]


async def test_the_checked_address_is_connected_to_under_the_name(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"])
    async with sender(names) as one:
        answer = await sent(one, f"http://hook.example:{port_of(receiver)}/a?b=c")
    assert answer == Answer(204)
    assert receiver.heads[0]["host"] == f"hook.example:{port_of(receiver)}"
    assert names.asked == ["hook.example"], "looked up once: no second look-up that could mean something else"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["8.8.8.8", "127.0.0.1"],
        ["fe80::1%1"],
    ],
)
async def test_a_name_that_means_a_private_address_is_refused(receiver: Receiver, addresses: list[str]) -> None:
    async with sender(Names(addresses), allowed=False) as one:
        answer = await sent(one, f"http://hook.example:{port_of(receiver)}/")
    assert answer.status is None
    assert "isn't public" in (answer.error or "")
    assert receiver.ids == []


async def test_a_name_that_turns_private_is_refused_the_second_time(receiver: Receiver) -> None:
    """First public (here: the allowed loopback), then private: each attempt checks what it connects to."""
    async with sender(Names(["127.0.0.1"], ["10.0.0.1"])) as one:
        url = f"http://hook.example:{port_of(receiver)}/"
        assert (await sent(one, url)).status == 204
        assert "10.0.0.1" in ((await sent(one, url)).error or "")
    assert len(receiver.ids) == 1


async def test_a_name_that_turns_private_between_check_and_connection_gains_nothing(receiver: Receiver) -> None:
    """The second look-up, which an attacker would answer with another address, never happens."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with sender(names) as one:
        await sent(one, f"http://hook.example:{port_of(receiver)}/")
    assert len(names.asked) == 1


async def test_localhost_is_looked_up_and_refused(receiver: Receiver) -> None:
    async with sender(SystemNames(), allowed=False) as one:
        answer = await sent(one, f"http://localhost:{port_of(receiver)}/")
    assert "isn't public" in (answer.error or "")


async def test_the_next_address_is_tried_when_one_refuses(receiver: Receiver) -> None:
    async with sender(Names(["127.0.0.2", "127.0.0.1"])) as one:
        assert (await sent(one, f"http://hook.example:{port_of(receiver)}/")).status == 204


async def test_connections_are_never_shared_between_names(receiver: Receiver) -> None:
    async with sender(Names(["127.0.0.1"])) as one:
        for name in ("a.example", "b.example"):
            await sent(one, f"http://{name}:{port_of(receiver)}/")
    assert [head["host"].partition(":")[0] for head in receiver.heads] == ["a.example", "b.example"]
    assert {head.get("connection") for head in receiver.heads} <= {None, "close", "keep-alive"}


async def test_no_address_and_a_name_that_is_not_known_are_told() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    async with sender(unknown) as one:
        assert "not known" in ((await sent(one, "http://nowhere.example/")).error or "")
    async with sender(SystemNames()) as one:
        assert "gaierror" in ((await sent(one, "http://nowhere.invalid/")).error or "")
        assert (await sent(one, f"http://{'a' * 70}.invalid/")).status is None
    async with sender(Names([])) as one:
        assert "no address" in ((await sent(one, "http://nowhere.example/")).error or "")


async def test_a_server_that_says_nothing_costs_the_timeout_and_no_more(receiver: Receiver) -> None:
    receiver.answering.clear()
    async with sender(Names(["127.0.0.1"]), timeout_s=0.2) as one:
        answer = await sent(one, f"http://hook.example:{port_of(receiver)}/")
    receiver.answering.set()
    assert answer == Answer(None, "no answer within 0.2 s")


async def test_a_body_without_end_is_not_read() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    async with server, sender(Names(["127.0.0.1"])) as one:
        assert (await sent(one, f"http://x.example:{server.sockets[0].getsockname()[1]}/")).status == 200


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000, b"HTTP/1.1 99999"]
)
async def test_nonsense_for_an_answer_is_told(answer: bytes) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with server, sender(Names(["127.0.0.1"])) as one:
        told = await sent(one, f"http://x.example:{server.sockets[0].getsockname()[1]}/")
    assert told.status is None
    assert told.error


async def test_the_certificate_must_be_the_name_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is to an address, but the name is asked for (SNI), and the certificate is held against it."""
    made = certificate(tmp_path, "hook.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert, made.key)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0, ssl=context)
    async with server, sender(Names(["127.0.0.1"])) as one:
        port = server.sockets[0].getsockname()[1]
        assert (await sent(one, f"https://hook.example:{port}/")).status == 204
        told = await sent(one, f"https://other.example:{port}/")
    assert asked == ["hook.example", "other.example"]
    assert told.status is None
    assert "certificate" in (told.error or "").lower()
