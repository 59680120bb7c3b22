"""Every error of the exporter; each class says what the caller does next.

CclError                      base; never raised itself
├── UsageError                a person gave something we cannot use: tell them, exit 2
├── StateError                a file of our own cannot be read or kept: tell its owner which, exit 1
├── WriteRejected             we do not write this, as it would be unsafe or too soon: tell why, exit 4
└── ChargerError              the charger did not give what was asked; becomes a value in the snapshot
    ├── Unreachable           no connection: serve `ccl_up 0`, try again at the next scrape
    │   ├── HostNotFound      no host has this name: tell the owner to look up the address
    │   ├── ConnectRefused    a machine is there, but no server on this port: tell the owner to check the address
    │   ├── NoRoute           no way to this address: tell the owner that it may be switched off
    │   └── ConnectTimedOut   nothing answers at this address: tell the owner that it may be switched off
    ├── TimedOut              the deadline passed: serve what is there, go on at the next scrape
    ├── AccessDenied          the engine wants a login or says no: tell the owner, do not insist
    ├── Absent                the engine lacks this document: take the next way, remember it
    ├── Unsure                a write may have been taken, but no answer came: read back what holds
    └── Garbled               an answer that is not what the protocol says: use nothing of it
        └── TooLarge          more than we are willing to read: ask for less at a time
"""


class CclError(Exception):
    """Base of every error that this package raises on purpose."""


class UsageError(CclError):
    """A command line or configuration that cannot be used; the message says what to change."""


class StateError(CclError):
    """A file that an exporter wrote cannot be read, or not be written any more; the message names it."""


class WriteRejected(CclError):
    """A write that this program does not make: out of range, read-only, too soon, unsafe, or not to be undone."""


class ChargerError(CclError):
    """A charger did not answer as asked; caught in one place and turned into a value."""


class Unreachable(ChargerError):
    """No connection came about: no such host, refused, no route."""


class HostNotFound(Unreachable):
    """No host has this name."""


class ConnectRefused(Unreachable):
    """The host answers, but no server listens on this port."""


class NoRoute(Unreachable):
    """Nothing has this address in a network of this machine, or no network of this machine leads to it."""


class ConnectTimedOut(Unreachable):
    """Nothing answered at any address of the host, though there was more time."""


class TimedOut(ChargerError):
    """The answer was not complete before the deadline."""


class AccessDenied(ChargerError):
    """401, 403, or a text that says "not granted" (protocol 7)."""


class Absent(ChargerError):
    """The engine has no such document, or answers it with nothing in it."""


class Unsure(ChargerError):
    """A write was sent and its answer never came, so it is not known whether it took effect."""


class Garbled(ChargerError):
    """Not XML, not the expected document, or an HTTP answer that makes no sense."""


class TooLarge(Garbled):
    """The answer passes the cap on bytes, elements or depth."""


def clear_tracebacks(error: BaseException) -> None:
    """Drop the frames of a library's error and of those that it came from.

    Some libraries' frames hold the error, and the error holds them: a ring that only the collector could free,
    with the whole answer of a charger in it.
    """
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
