"""Every error of the exporter, and what its caller does next.

CclError                      base; never raised itself
├── UsageError                input of a person that cannot be used: report it, exit 2
├── StateError                a file of the exporter cannot be read or written: name it, exit 1
├── WriteRejected             a write that is unsafe or too soon: report why, exit 4
└── ChargerError              the charger did not give what was asked; becomes a value in the snapshot
    ├── Unreachable           no connection: serve `ccl_up 0`, try again at the next scrape
    │   ├── HostNotFound      no host has this name: advise to look up the address
    │   ├── ConnectRefused    the host has no server on this port: advise to check the address
    │   ├── NoRoute           no route to this address: advise that it may be switched off
    │   └── ConnectTimedOut   no answer at this address: advise that it may be switched off
    ├── TimedOut              the deadline passed: serve what is there, go on at the next scrape
    ├── AccessDenied          the engine wants a login or refuses: report it, do not try again at once
    ├── Absent                the engine has no such document: use the next strategy, remember it
    ├── Unsure                no answer to a write, which may have taken effect: read it back
    └── Garbled               an answer that does not follow the protocol: use nothing of it
        └── TooLarge          an answer above the limits: request less at a time
"""


class CclError(Exception):
    """Base of every error that this package raises on purpose."""


class UsageError(CclError):
    """A command line or configuration that cannot be used; the message says what to change."""


class StateError(CclError):
    """A file of the exporter that cannot be read or written; the message names it."""


class WriteRejected(CclError):
    """A write that the exporter does not make: out of range, read-only, too soon, unsafe, or not restorable."""


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
