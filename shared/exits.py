"""Exit codes of all three commands, and which error means which."""

from enum import IntEnum

from shared.errors import Misconfigured, MusterError, NotAllowed, Unavailable

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """How a command ends. The larger ones are those of sysexits.h."""

    OK = 0
    FAILED = 1
    #: wrong before anything was sent
    USAGE = 2
    #: the hub or the store can't be reached
    UNAVAILABLE = 69
    NOT_ALLOWED = 77
    #: settings are wrong
    CONFIGURATION = 78


def exit_code_of(error: MusterError) -> ExitCode:
    """The exit code that an error means."""
    if isinstance(error, Misconfigured):
        return ExitCode.CONFIGURATION
    if isinstance(error, NotAllowed):
        return ExitCode.NOT_ALLOWED
    return ExitCode.UNAVAILABLE if isinstance(error, Unavailable) else ExitCode.FAILED
