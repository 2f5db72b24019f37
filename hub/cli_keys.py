"""`muster-hub key` and `token`: who may do what. Each act is in the audit log, as done on the hub's machine."""

import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from hub.cli_options import JSON, POOL, print_facts, settings_of, with_settings, with_store
from hub.exits import exiting
from shared.clock import SystemClock
from shared.store.audit import Act, Audit
from shared.store.connection import Store
from shared.store.credentials import CredentialKind, Credentials, Grant
from shared.store.pools import Pools
from shared.wire.access import AGENT_SCOPES, Credential, Scope

__all__ = ["key", "token"]

DAY_S = 24 * 3600
KEY_SCOPES = [scope.value for scope in Scope if scope not in AGENT_SCOPES]

T = TypeVar("T")


@click.group()
def key() -> None:
    """Keys for clients."""


@key.command("create", epilog="\b\nExample:\n  muster-hub key create ci --scope jobs:submit --scope jobs:read\n")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(KEY_SCOPES), help="What it may do.")
@click.option("--pool", "pools", multiple=True, type=POOL, help="Where; all pools when none is given.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good; until revoked when not given.")
@click.option("--customer", "customer_id", help="It sees and submits this customer's jobs alone.")
@click.option("--rate-per-minute", type=click.IntRange(1, 1_000_000), help="Requests a minute; no limit by itself.")
@with_settings
@JSON
def create_key(name: str, **options: Any) -> None:
    """Make a key. Its secret is shown once."""
    grant = Grant(
        scopes=[Scope(scope) for scope in options.pop("scopes")],
        pools=options.pop("pools") or None,
        lifetime_s=_days(options.pop("days")),
        customer_id=options.pop("customer_id"),
        rate_per_minute=options.pop("rate_per_minute"),
    )
    _create(CredentialKind.KEY, name, grant, **options)


@key.command("rotate", epilog="\b\nExample:\n  muster-hub key rotate 1f2e3d4c5b6a --overlap-s 86400\n")
@click.argument("credential_id", metavar="ID")
@click.option(
    "--overlap-s", type=click.IntRange(0, 30 * DAY_S), default=3600, help="How long the old secret stays good."
)
@with_settings
@JSON
def rotate_key(config: Path | None, credential_id: str, *, overlap_s: int, as_json: bool, **flags: Any) -> None:
    """Replace a key by one that may do the same. Its secret is shown once."""

    async def rotate(store: Store) -> tuple[Credential, str]:
        return await _credentials(store).rotate(CredentialKind.KEY, credential_id, overlap_s=overlap_s)

    with exiting():
        made = with_store(settings_of(config, flags), _noted("key rotate", credential_id, rotate))
        _print_made(*made, as_json=as_json)


@click.group()
def token() -> None:
    """Enrolment tokens, with which machines are let in."""


@token.command("create", epilog="\b\nExample:\n  muster-hub token create rack-7 --pool default --days 7 --uses 8\n")
@click.argument("name")
@click.option("--pool", "pools", multiple=True, type=POOL, help="Where its agents may work; all when none is given.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good; until revoked when not given.")
@click.option("--uses", type=click.IntRange(1, 100_000), help="Machines that it lets in; no limit by itself.")
@with_settings
@JSON
def create_token(name: str, **options: Any) -> None:
    """Make an enrolment token. Its secret is shown once."""
    grant = Grant(
        scopes=[Scope.AGENTS_ENROLL],
        pools=options.pop("pools") or None,
        lifetime_s=_days(options.pop("days")),
        uses=options.pop("uses"),
    )
    _create(CredentialKind.TOKEN, name, grant, **options)


def _add_list_and_revoke(group: click.Group, kind: CredentialKind) -> None:
    @group.command("list", help=f"List all {kind}s, without their secrets.")
    @with_settings
    @JSON
    def list_them(config: Path | None, *, as_json: bool, **flags: Any) -> None:
        with exiting():
            found = with_store(settings_of(config, flags), lambda store: _credentials(store).listed(kind))
            _print_credentials(found, as_json=as_json)

    @group.command("revoke", help=f"Revoke a {kind}, by its id from the list.")
    @click.argument("credential_id", metavar="ID")
    @with_settings
    @JSON
    def revoke(config: Path | None, credential_id: str, *, as_json: bool, **flags: Any) -> None:
        async def revoke_it(store: Store) -> Credential:
            return await _credentials(store).revoke(kind, credential_id)

        with exiting():
            gone = with_store(settings_of(config, flags), _noted(f"{kind} revoke", credential_id, revoke_it))
            print_facts({"revoked": gone.id, "name": gone.name}, as_json=as_json)


_add_list_and_revoke(key, CredentialKind.KEY)
_add_list_and_revoke(token, CredentialKind.TOKEN)


def _create(kind: CredentialKind, name: str, grant: Grant, *, config: Path | None, as_json: bool, **flags: Any) -> None:
    async def make(store: Store) -> tuple[Credential, str]:
        await Pools(store).add(*(grant.pools or ()))
        return await _credentials(store).create(kind, name, grant)

    with exiting():
        _print_made(*with_store(settings_of(config, flags), _noted(f"{kind} create", name, make)), as_json=as_json)


def _noted(act: str, about: str, do: Callable[[Store], Awaitable[T]]) -> Callable[[Store], Awaitable[T]]:
    """The act, and a line of it in the audit log once it is done."""

    async def done(store: Store) -> T:
        found = await do(store)
        who = f"local:{getpass.getuser()}"
        await Audit(store).note(Act(at_ms=SystemClock().now_ms(), who=who, act=f"muster-hub {act}", about=about))
        return found

    return done


def _credentials(store: Store) -> Credentials:
    return Credentials(store, SystemClock())


def _days(days: int | None) -> int | None:
    return days * DAY_S if days else None


def _print_made(credential: Credential, secret: str, *, as_json: bool) -> None:
    print_facts({**msgspec.to_builtins(credential), "secret": secret}, as_json=as_json)


def _print_credentials(credentials: list[Credential], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"items": credentials, "next_cursor": None}).decode())
        return
    for one in credentials:
        click.echo(f"{one.id}  {one.name:<20}  {', '.join(one.scopes)}  pools: {', '.join(one.pools)}")
