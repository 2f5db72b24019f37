"""Errors as exit codes, with one sentence on standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from shared.errors import Misconfigured, MusterError, NotAllowed, Unavailable

__all__ = ["exiting"]

EXIT_FAILED = 1
EXIT_UNAVAILABLE = 69
EXIT_NOT_ALLOWED = 77
EXIT_CONFIGURATION = 78


@contextmanager
def exiting() -> Iterator[None]:
    """The block's errors of Muster's end the program with the code that the command line promises."""
    try:
        yield
    except MusterError as error:
        click.echo(f"muster-hub: {error.detail}", err=True)
        sys.exit(_code(error))


def _code(error: MusterError) -> int:
    if isinstance(error, Misconfigured):
        return EXIT_CONFIGURATION
    if isinstance(error, NotAllowed):
        return EXIT_NOT_ALLOWED
    return EXIT_UNAVAILABLE if isinstance(error, Unavailable) else EXIT_FAILED
