"""The hub: reachable, over TLS, of a version that fits, ready, and does it know this agent?"""

import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from agent.doctor.clock import skew
from agent.doctor.finding import Finding, Subject, failed, fine, warned
from agent.enrolment import NO_ARTIFACT
from agent.identity import Identity
from shared import __version__
from shared.client.connection import Connection, is_this_machine
from shared.errors import MusterError, NotAllowed, Unavailable

__all__ = ["look_at_hub"]

#: what an error of TLS says somewhere
TLS_WORDS = ("certificate", "ssl", "tls")


class _Version(msgspec.Struct, frozen=True):
    version: str


async def look_at_hub(subject: Subject) -> list[Finding]:
    """The hub, as far as it can be reached."""
    url = subject.config.hub_url or (subject.identity.hub_url if subject.identity else None)
    if url is None:
        return [failed("hub", "nothing says where the hub is", "set HUB_URL, such as https://hub.example:3001")]
    hub = Connection.to(url, subject.identity.key if subject.identity else None)
    try:
        reached = await _reached(hub)
        if any(one.remedy for one in reached if one.check == "hub"):
            return reached
        return [*reached, _encryption(url), await _readiness(hub), await _membership(hub, subject)]
    finally:
        await hub.close()


async def _reached(hub: Connection) -> list[Finding]:
    started_s = time.monotonic()
    try:
        async with hub.stream("GET", "/version") as response:
            version = msgspec.json.decode(await response.aread(), type=_Version).version
    except msgspec.DecodeError:
        return [failed("hub", f"{hub.url} answers, but not as a hub does", "see whether HUB_URL is the hub's")]
    except MusterError as error:
        return [_unreached(hub.url, error)]
    took_ms = (time.monotonic() - started_s) * 1000
    found = [fine("hub", f"{hub.url} answers in {took_ms:.0f} ms"), _fitting(version)]
    date = response.headers.get("date")
    if date:
        theirs_ms = round(parsedate_to_datetime(date).timestamp() * 1000)
        found.append(skew("hub.clock", "the hub's clock", theirs_ms, time.time_ns() // 1_000_000))
    return found


def _unreached(url: str, error: MusterError) -> Finding:
    said = error.detail.lower()
    if url.startswith("https") and any(word in said for word in TLS_WORDS):
        remedy = "install the CA that signed the hub's certificate, or name its file in SSL_CERT_FILE"
        return failed("hub", f"the hub's certificate isn't trusted, or it speaks no TLS: {error.detail}", remedy)
    return failed(
        "hub", error.detail, "see whether the hub runs, HUB_URL is right, and no firewall or proxy is between"
    )


def _fitting(version: str) -> Finding:
    if version.split(".")[:2] == __version__.split(".")[:2]:
        return fine("hub.version", f"{version}; this agent is {__version__}")
    seen = f"the hub is {version}, this agent {__version__}"
    return warned("hub.version", seen, "update hubs first, then agents; neighbouring releases work together")


def _encryption(url: str) -> Finding:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return fine("hub.tls", "the certificate is trusted")
    if is_this_machine(parts.hostname or ""):
        return fine("hub.tls", "not encrypted, and doesn't leave this machine")
    return warned(
        "hub.tls", "not encrypted: keys and files can be read on the way", "use https (HUB_TLS_CERT of the hub)"
    )


async def _readiness(hub: Connection) -> Finding:
    try:
        async with hub.stream("GET", "/readyz") as response:
            await response.aread()
    except MusterError as error:
        return failed("hub.ready", error.detail, "see the hub's log; its store is away or lacks the functions")
    return fine("hub.ready", "it takes jobs")


async def _membership(hub: Connection, subject: Subject) -> Finding:
    identity = subject.identity
    if identity is None:
        if subject.config.hub_auth_token:
            return fine("hub.identity", "not enrolled yet; there is a token, `muster-agent run` enrols")
        return failed("hub.identity", "not enrolled, and no token", "set HUB_AUTH_TOKEN (muster-hub token create NAME)")
    return await _known(hub, identity)


async def _known(hub: Connection, identity: Identity) -> Finding:
    try:
        async with hub.stream("GET", NO_ARTIFACT):
            pass
    except NotAllowed as error:
        if error.code != "not_a_hub":
            remedy = "enrol it again: a new HUB_AUTH_TOKEN (muster-hub token create NAME), then muster-agent run"
            return failed("hub.identity", f"the hub doesn't know {identity.agent_id}: {error.detail}", remedy)
    except Unavailable as error:
        return warned("hub.identity", error.detail, "look again when the hub is ready")
    except MusterError:  # no such artifact, as it should be
        pass
    return fine("hub.identity", f"enrolled as {identity.agent_id} for {', '.join(identity.pools)}")
