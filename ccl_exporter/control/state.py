"""What writing commands store between runs: times of writes, pending restores, overrides, progress, a journal.

The state folder has one folder for each charger, by the smallest id of its plugs, and one journal for all.
In the folder of an address, the file `id` says which charger answered there last; in the folder of a charger, the
file `url` says where it answered last.
"""

import getpass
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from logging.handlers import SysLogHandler
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket
from time import monotonic, time
from typing import Any

from ccl_exporter.control.night import Night
from ccl_exporter.errors import StateError, TimedOut, WriteRejected
from ccl_exporter.http_client import resolved_address
from ccl_exporter.locks import is_locked, wait_for_lock
from ccl_exporter.text import file_key

JOURNAL = "writes.log"
SYSTEM_LOG = Path("/dev/log")
_FACTS = "facts.json"
_LAST_URL = "url"
_COPIED = "copied"
_FACTS_WITHIN = 5.0
_RESOLVED_WITHIN = 5.0
_JOURNAL_TAIL = 512 * 1024  # bytes
_ASKED_WITHIN = 0.3
"""Seconds to wait for a lock that another command may hold only to see whether it is held."""
_RESTARTS = 120.0  # seconds within which a follower that ended may have been started again


@dataclass(frozen=True, slots=True)
class PendingRestore:
    """The values to restore, and those that the command wrote instead; by variable, as the engine sends them.

    `sent` is when `during` was written, in Unix seconds. `earlier` are values of earlier writes, which may still
    be in force: the last write may never arrive.
    """

    device: str
    before: Mapping[str, float]
    during: Mapping[str, float]
    sent: float = 0.0
    earlier: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def ours(self, name: str) -> Sequence[float]:
        """The values that a variable may have if nothing else changed it."""
        return self.before[name], self.during[name], *self.earlier.get(name, ())


@dataclass(frozen=True, slots=True)
class Override:
    """A charge of `charge start --now`, which neither the end of the night hours nor a follower or a plan stops.

    `requested` is the session's request as the charger reports it, None if it does not; `said` is the time of the
    command. The override ends at `until`, or once the session has `energy`. Unix seconds, joules.
    """

    requested: float | None
    said: float
    until: float | None = None
    energy: float | None = None


@dataclass(frozen=True, slots=True)
class PlanProgress:
    """The progress of a plan: kilowatt-hours needed, by when (Unix seconds), and charged so far; None is no goal.

    `requested` and `energy` are the request of the session that was counted last and its kilowatt-hours then, as
    the charger reports them. `blocks` are begin and end (Unix seconds) of the times in which the car is to charge.
    """

    need: float | None
    by: float | None
    charged: float
    requested: float | None
    energy: float | None
    blocks: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class WriteEntry:
    """One write in the journal; personal values are masked.

    `result` is the outcome, or begins with `failed`, or with `accepted, but` if its effect could not be read.
    """

    charger: str
    variables: Sequence[str]
    before: Sequence[float | str | None]
    wanted: Sequence[float | str | None]
    after: Sequence[float | str | None]
    result: str
    command: str


@dataclass
class ControlState:
    """The state of the charger at a URL; `now` gives Unix seconds, `say` takes what a person should know.

    Until `identify` was called with ids, it is that of the charger that answered last at the address.
    Raises `StateError` if the folder cannot be written: without it no write is safe.
    """

    folder: Path
    url: str
    now: Callable[[], float] = time
    system_log: Path = SYSTEM_LOG
    say: Callable[[str], None] = lambda sentence: None
    _address: str = field(init=False)

    def __post_init__(self) -> None:
        self._address = _address_of(self.url)
        try:
            self._of(self._address).mkdir(parents=True, exist_ok=True, mode=0o700)
            self._own.mkdir(exist_ok=True, mode=0o700)
            for path in (self.folder / JOURNAL, self._own / "lock"):
                with path.open("a", encoding="utf-8"):
                    pass
        except OSError as error:
            raise self._unkept(error, self.folder) from error
        self.identify(None)

    @property
    def id(self) -> str:
        """The id of the charger that answered last at the address, else the address."""
        return _id_at(self.folder, self._address)

    @property
    def _own(self) -> Path:
        return self._of(self.id)

    def _of(self, id: str) -> Path:
        return _memory_of(self.folder, id)

    def identify(
        self, plug_ids: Collection[str] | None, has_id: Callable[[str, str], bool] = lambda url, id: False
    ) -> None:
        """Use the state of the charger with these plug ids; None, if it did not report any, keeps the present one.

        State that was stored by address or URL alone becomes part of it.
        If another charger has the same id, from a copied configuration image, the state of the address is used:
        `has_id` says whether a charger answers at a URL that may have an id. Raises `StateError`.
        """
        try:
            older = {self._of(self._address), self._of(self.url)}
            if plug_ids is not None:
                id = min(plug_ids, default=self._address)
                if id != self._address and self._is_copied(id, has_id):
                    if _address_of(self._last_url(id)) == self._address:
                        older.add(self._of(id))
                    id = self._address
                if id != self.id:
                    _replace(self._of(self._address) / "id", id)
            self._own.mkdir(exist_ok=True, mode=0o700)
            for folder in older - {self._own}:
                self._adopt(folder)
        except OSError as error:
            raise self._unkept(error) from error

    def _is_copied(self, id: str, has_id: Callable[[str, str], bool]) -> bool:
        """Whether two chargers share an id: this one, and the one whose state was used last under it."""
        own, before = self._of(id), self._last_url(id)
        own.mkdir(exist_ok=True, mode=0o700)
        if (own / _COPIED).exists():
            return True
        is_elsewhere = before not in ("", self.url) and _address_of(before) != self._address
        if is_elsewhere and has_id(before, id):
            (own / _COPIED).touch()
            self.say(
                f"{before} and {self.url} have the same plug ids:"
                " what commands keep of these chargers is kept by address"
            )
            return True
        if before != self.url:
            _replace(own / _LAST_URL, self.url)
        return False

    def _last_url(self, id: str) -> str:
        """The URL at which the charger of an id was last; empty if that is not known."""
        with suppress(OSError, ValueError):
            return (self._of(id) / _LAST_URL).read_text(encoding="utf-8")
        return ""

    def _adopt(self, older: Path) -> None:
        """Move the pending restores of commands that no longer run, and the facts unless there are newer ones."""
        for path in older.glob("back-*.json"):
            with suppress(FileNotFoundError, TimedOut), path.open("r+") as file:
                wait_for_lock(file, monotonic() + _ASKED_WITHIN, "")
                path.replace(self._own / path.name)
        facts, before = self._own / _FACTS, older / _FACTS
        with suppress(FileNotFoundError):
            if older != self._of(self.url):
                if not facts.exists():
                    before.replace(facts)
            # Version 0.1 keeps its facts by URL, and finds them there if it is installed again.
            elif not facts.exists() or facts.stat().st_mtime < before.stat().st_mtime:
                _replace(facts, before.read_text(encoding="utf-8"))

    @contextmanager
    def exclusive(self, deadline: float) -> Iterator[None]:
        """Hold the lock that keeps other commands from writing to this charger.

        Raises `TimedOut` at `deadline` (monotonic), `StateError` if nothing can be locked.
        """
        with self._holding(self._own / "lock", deadline):
            yield

    # Times of writes

    def seconds_since(self, variable: str) -> float | None:
        """How long ago a variable was written; None if never, or if the clock was set back since."""
        at = self._fact("written", variable)
        return self.now() - at if isinstance(at, float) and at <= self.now() else None

    def note_written(self, variables: Sequence[str]) -> Callable[[], None]:
        """Note that variables are written now; the function that it returns takes that back.

        Both raise `StateError` and `TimedOut`.
        """
        with self._changing("written") as written:
            before = {name: written.get(name) for name in variables}
            written.update(dict.fromkeys(variables, self.now()))

        def take_back() -> None:
            with self._changing("written") as written:
                written.update(before)

        return take_back

    # Overrides

    def override(self, plug: str) -> Override | None:
        """The override of a plug; None if there is none."""
        with suppress(TypeError):  # none, or of another version
            return Override(**(self._fact("overrides", plug) or {}))
        return None

    def set_override(
        self, plug: str, requested: float | None, lasts: float | None = None, energy: float | None = None
    ) -> None:
        """Store an override until the car leaves, for `lasts` seconds or until the session has `energy` joules."""
        now = self.now()
        with self._changing("overrides") as overrides:
            overrides[plug] = asdict(Override(requested, now, None if lasts is None else now + lasts, energy))

    def clear_override(self, plug: str) -> None:
        """Remove the override of a plug."""
        if self.override(plug) is not None:
            with self._changing("overrides") as overrides:
                overrides.pop(plug, None)

    # Night hours

    def night(self, plug: str, opened: float) -> Night:
        """The result so far of the night hours that began at `opened` (Unix seconds)."""
        found = self._fact("nights", plug)
        with suppress(TypeError, KeyError):  # none, or of another version
            if found["opened"] == opened:
                return Night(**{**found, "restarts": tuple(found["restarts"])})
        return Night(opened)

    def set_night(self, plug: str, night: Night) -> None:
        """Store the result so far of the night hours."""
        with self._changing("nights") as nights:
            nights[plug] = asdict(night)

    # Plans

    @contextmanager
    def planning(self, plug: str) -> Iterator[None]:
        """Hold the lock of a plug's planner.

        Raises `WriteRejected` if another planner has it, `StateError` if nothing can be locked.
        """
        with ExitStack() as held:
            try:
                held.enter_context(self._holding(self._planned(plug), monotonic() + _ASKED_WITHIN))
            except TimedOut:
                raise WriteRejected(f"another `charge plan` runs for {plug}: stop that one first") from None
            yield

    def is_planning(self, plug: str) -> bool:
        """Whether a plan for a plug is being carried out now."""
        return _is_locked(self._planned(plug))

    def plan_progress(self, plug: str) -> PlanProgress | None:
        """The stored progress of the plan for a plug; None if there is none."""
        with suppress(TypeError):  # none, or of another version
            return PlanProgress(**(self._fact("plans", plug) or {}))
        return None

    def keep_plan_progress(self, plug: str, progress: PlanProgress) -> None:
        """Store the progress of a plan."""
        with self._changing("plans") as plans:
            plans[plug] = asdict(progress)

    def _planned(self, plug: str) -> Path:
        return self._own / f"plan-{file_key(plug)}.lock"

    # Pending restores

    @contextmanager
    def pending(self, way: PendingRestore) -> Iterator[Callable[[], None]]:
        """Store a pending restore while its command runs; yields the function to call once it was carried out.

        If that is not called, as after a kill, the next command carries it out.
        """
        path = self._own / f"back-{os.getpid()}-{monotonic():.6f}.json"
        # Locked before it has its name: another command would take it for that of a killed one.
        with self._holding(_fresh(path), float("inf")):
            self._keep(path.stem, asdict(way))
            yield lambda: self._forget(path)

    @contextmanager
    def pending_restores(self) -> Iterator[Sequence[tuple[PendingRestore, Callable[[], None]]]]:
        """The pending restores of commands that no longer run, each with the function to call once it is done."""
        found = []
        with ExitStack() as files:
            for path in sorted(self._own.glob("back-*.json")):
                with suppress(FileNotFoundError, ValueError, TypeError, TimedOut):
                    try:
                        file = files.enter_context(path.open("r+"))
                    except PermissionError as error:
                        raise self._unkept(error) from error
                    # Its command may have ended, and removed it, since it was listed.
                    wait_for_lock(file, monotonic() + _ASKED_WITHIN, "")
                    if not os.fstat(file.fileno()).st_nlink:
                        continue
                    kept = {**json.load(file)}
                    # Early versions also stored when it was to end.
                    kept.pop("until", None)
                    found.append((PendingRestore(**kept), partial(self._forget, path)))
            yield found

    def is_held(self, variable: str) -> bool:
        """Whether a command that still runs has changed a variable temporarily."""
        for path in self._own.glob("back-*.json"):
            with suppress(OSError, ValueError), path.open("r+") as file:
                if is_locked(file) and variable in json.load(file)["before"]:
                    return True
        return False

    # The follower of a plug

    @contextmanager
    def followed(self, plug: str) -> Iterator[None]:
        """Hold the lock of a plug's follower.

        Raises `WriteRejected` if another follower has it, `StateError` if nothing can be locked.
        """
        path = self._followed(plug)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            opened = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StateError(
                f"{path.parent} cannot be written ({error.strerror}), so a second follower could not be kept out:"
                " set STATE_DIRECTORY"
            ) from error
        with opened as lock:
            try:
                wait_for_lock(lock, monotonic() + _ASKED_WITHIN, "")
            except TimedOut:
                lock.seek(0)
                who = lock.read(20).strip()
                raise WriteRejected(
                    f"{plug} of {self.url} is followed already, by process {who}: stop that one first,"
                    " two would set its limit against each other"
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            try:
                yield
            finally:
                with suppress(OSError):
                    os.utime(lock.fileno(), (self.now(), self.now()))

    def is_followed(self, plug: str) -> bool:
        """Whether a follower of a plug runs."""
        return _is_locked(self._followed(plug))

    def was_followed(self, plug: str) -> bool:
        """Whether a follower of a plug runs, or ended so lately that it may be restarting."""
        with suppress(OSError):
            return self.is_followed(plug) or 0 <= self.now() - self._followed(plug).stat().st_mtime < _RESTARTS
        return False

    def _followed(self, plug: str) -> Path:
        return self.folder / "follow" / file_key(f"{self.id} {plug}")

    # The journal

    def written_lately(self, variable: str, seconds: float) -> list[float]:
        """The ages in seconds, below `seconds`, of this machine's writes to a variable, the latest write last."""
        ages = [max(self.now() - at, 0.0) for at, _ in self._journal(variable)]
        return [age for age in ages if age < seconds]

    def stopped_at(self, plug: str) -> Sequence[float]:
        """When commands of this machine recently stopped the charge of a plug (Unix seconds); no failed ones."""
        return [at for at, value in self._journal(f"{plug}.REMOTE_STOP") if value]

    def last_written(self, variable: str) -> float | None:
        """The value of the last write of this machine to a variable that did not fail; None without one."""
        return next((value for _, value in reversed(self._journal(variable)) if value is not None), None)

    def _journal(self, variable: str) -> Sequence[tuple[float, float | None]]:
        """Time (Unix seconds) and value of recent writes to a variable; None if the write failed, or is masked."""
        found: list[tuple[float, float | None]] = []
        with suppress(OSError), (self.folder / JOURNAL).open("rb") as journal:
            journal.seek(0, os.SEEK_END)
            journal.seek(max(journal.tell() - _JOURNAL_TAIL, 0))
            for line in journal.read().splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    # Version 0.1 knew a charger by its URL only.
                    is_own = entry["id"] == self.id if "id" in entry else entry["charger"] == self.url
                    if is_own and variable in entry["variables"]:
                        value = entry["wanted"][entry["variables"].index(variable)]
                        at = datetime.fromisoformat(entry["time"]).timestamp()
                        is_accepted = isinstance(value, float) and not entry["result"].startswith("failed")
                        found.append((at, value if is_accepted else None))
        return found

    def log_write(self, entry: WriteEntry) -> None:
        """Append a write to the journal, and send it to the system log if there is one. Raises `StateError`."""
        when = datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": when, "user": _user(), "id": self.id, **asdict(entry)}, ensure_ascii=False)
        priority = SysLogHandler.LOG_USER << 3 | SysLogHandler.LOG_NOTICE
        with suppress(OSError), socket(AF_UNIX, SOCK_DGRAM) as system:
            system.connect(str(self.system_log))
            system.send(f"<{priority}>ccl-exporter[{os.getpid()}]: {line}".encode())
        try:
            with (self.folder / JOURNAL).open("a+b") as journal:
                journal.seek(max(journal.tell() - 1, 0))
                # A disk that was full may have cut the last line.
                cut = b"" if journal.read() in (b"", b"\n") else b"\n"
                journal.write(cut + f"{line}\n".encode())
        except OSError as error:
            why = f"{self.folder / JOURNAL} cannot be written ({error.strerror})"
            raise StateError(f"{why}, so this write is not in it: {entry.result}") from error

    @contextmanager
    def _holding(self, path: Path, deadline: float) -> Iterator[None]:
        """Lock a file; raises `TimedOut` at `deadline` (monotonic), `StateError` if it cannot be locked."""
        with ExitStack() as held:
            try:
                file = held.enter_context(path.open("a", encoding="utf-8"))
                wait_for_lock(file, deadline, "another command was writing to the charger all the time")
            except OSError as error:
                raise self._unkept(error) from error
            yield

    @contextmanager
    def _changing(self, kind: str) -> Iterator[dict[str, Any]]:
        """The facts of one kind, stored after the change; locked, so that no change of another process is lost."""
        with self._holding(self._own / "facts.lock", monotonic() + _FACTS_WITHIN):
            facts = self._facts()
            yield facts.setdefault(kind, {})
            self._keep("facts", facts)

    def _fact(self, kind: str, name: str) -> Any:
        """The stored fact of a plug or a variable; None if there is none."""
        return self._facts().get(kind, {}).get(name)

    def _facts(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            found = json.loads((self._own / _FACTS).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return {kind: facts for kind, facts in found.items() if isinstance(facts, dict)}
        return {}

    def _keep(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write a file so that a crash leaves the old one or the new one."""
        try:
            _replace(self._own / f"{name}.json", json.dumps(facts))
        except OSError as error:
            raise self._unkept(error) from error

    def _forget(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unkept(error) from error

    def _unkept(self, error: OSError, folder: Path | None = None) -> StateError:
        return StateError(
            f"{folder or self._own} cannot be written ({error.strerror}), and nothing is written to a charger"
            " without a record of it: set STATE_DIRECTORY"
        )


def _address_of(url: str) -> str:
    return resolved_address(url, _RESOLVED_WITHIN) or url


def _id_at(folder: Path, address: str) -> str:
    with suppress(OSError, ValueError):
        return (_memory_of(folder, address) / "id").read_text(encoding="utf-8") or address
    return address


def _memory_of(folder: Path, id: str) -> Path:
    return folder / "writes" / file_key(id)


def _fresh(path: Path) -> Path:
    """Where this process writes a file until it is complete."""
    return path.with_suffix(f".new{os.getpid()}")


def _replace(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    fresh = _fresh(path)
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    # Until the folder is on disk a power cut may take back the name. Not every file system can do it.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _is_locked(path: Path) -> bool:
    with suppress(OSError), path.open("r+", encoding="utf-8") as file:
        return is_locked(file)
    return False


def _user() -> str:
    """The user behind sudo, else the user of the process."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
