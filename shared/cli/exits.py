"""How a command ends: the exit code of an error, and one message on standard error with the remedy.

- 2 is for what was found wrong before anything was sent; what the hub refuses is 1, 69 or 77.
"""

import os
import sys

import click

from shared.errors import MusterError
from shared.exits import ExitCode, exit_code_of

__all__ = ["INTERRUPTED", "exit_code", "tell", "usage"]

INTERRUPTED = 130
#: as a program killed by SIGPIPE has it
READER_GONE = 141

#: code of an error → what to do about it, where the error itself can't know
REMEDIES = {
    "no_key": "give one with --key or MUSTER_KEY, or let `muster up` make one",
    "bad_key": "give another with --key or MUSTER_KEY; `muster-hub key create` makes one",
    "hub_unreachable": "`muster up` starts a hub for a trial; --url or MUSTER_URL names another",
}


def exit_code(error: BaseException) -> int:
    """The exit code that an error means, its message told; what isn't ours is raised again."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return error.exit_code
        case MusterError():
            tell(error)
            return exit_code_of(error)
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case BrokenPipeError():
            # what is still buffered can go nowhere: keep the interpreter's own flush from saying so
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return READER_GONE
        case OSError():
            click.echo(f"muster: {error.strerror or error}: {error.filename or ''}".rstrip(": "), err=True)
            return ExitCode.FAILED
    raise error


def usage(sentence: str) -> click.UsageError:
    """The error for arguments and documents that are wrong before anything was sent."""
    return click.UsageError(sentence, ctx=click.get_current_context(silent=True))


def tell(error: MusterError) -> None:
    """The error's sentence, where it points, and the remedy."""
    place = f" (at {error.pointer})" if error.pointer else ""
    remedy = REMEDIES.get(error.code)
    click.echo(f"muster: {error.detail}{place}" + (f"\n{remedy}" if remedy else ""), err=True)
