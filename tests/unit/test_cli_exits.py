"""The exit code of each kind of end, and what is told."""

import click
import pytest

from shared.cli.exits import exit_code, usage
from shared.errors import Bug, Conflict, Invalid, Misconfigured, NotAllowed, NotFound, TooLarge, Unavailable


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid("x"), 1),
        (NotFound("x"), 1),
        (Conflict("x"), 1),
        (TooLarge("x"), 1),
        (Bug("x"), 1),
        (Unavailable("x"), 69),
        (NotAllowed("x"), 77),
        (Misconfigured("x"), 78),
        (usage("x"), 2),
        (click.exceptions.Exit(0), 0),
        (KeyboardInterrupt(), 130),
        (FileNotFoundError(2, "No such file", "/x"), 1),
    ],
)
def test_exit_code_says_what_kind_of_end_it_was(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


def test_message_points_to_the_fault_and_names_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code(Invalid("unknown operator 'gte2'", pointer="/requires/gte2"))
    exit_code(NotAllowed("unknown key", code="bad_key"))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "muster: unknown operator 'gte2' (at /requires/gte2)",
        "muster: unknown key",
        "give another with --key or MUSTER_KEY; `muster-hub key create` makes one",
    ]


def test_what_is_not_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_code(ZeroDivisionError())
