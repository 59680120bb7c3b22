"""Exit codes of the commands."""

from enum import IntEnum

from ccl_exporter.errors import AccessDenied, CclError, TimedOut, Unreachable, UsageError, WriteRejected


class Exit(IntEnum):
    """Exit codes that scripts may rely on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NOT_TAKEN = 5
    NOTHING = 6
    NO_VEHICLE = 7


def exit_code(error: CclError) -> Exit:
    """The exit code of a command that ends with this error."""
    match error:
        case UsageError():
            return Exit.USAGE
        case Unreachable() | TimedOut():
            return Exit.UNREACHABLE
        case AccessDenied() | WriteRejected():
            return Exit.REFUSED
        case _:
            return Exit.FAILED
