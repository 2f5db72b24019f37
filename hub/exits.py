"""Errors as exit codes, with one sentence on standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from shared.errors import MusterError
from shared.exits import exit_code_of

__all__ = ["exiting"]


@contextmanager
def exiting() -> Iterator[None]:
    """The block's errors of Muster's end the program with the code that the command line promises."""
    try:
        yield
    except MusterError as error:
        click.echo(f"muster-hub: {error.detail}", err=True)
        sys.exit(exit_code_of(error))
