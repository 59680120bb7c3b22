"""Values of all variables by the best strategy that an engine understands (ladder of protocol 11 #1, #2)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from ccl_exporter.errors import Absent, AccessDenied, ChargerError, Garbled, TimedOut, Unreachable
from ccl_exporter.powerstudio import endpoints, xml_parser
from ccl_exporter.powerstudio.dialect import NegotiatedDialect
from ccl_exporter.powerstudio.endpoints import Endpoint
from ccl_exporter.powerstudio.inventory import Device, owner
from ccl_exporter.powerstudio.learned import Facts
from ccl_exporter.powerstudio.snapshot import Value
from ccl_exporter.text import quote_short

MAX_BATCH = 40
"""Variables in one request, as live installations use (protocol 6)."""

MAX_NAMES = 60
"""Variables in one request where that spares asking for whole devices; the highest number that was seen in use."""


class ValueStrategy(Enum):
    """Strategies for reading values, best first."""

    TOGETHER = "values.xml, several devices at once"
    EACH = "values.xml, one device at a time"
    STATE = "deviceState.xml, one device at a time"
    BATCH = "values.xml, several variables at once"
    ONE = "values.xml, one variable at a time"


@dataclass
class ValuesRead:
    """The result: values by full id, the devices that answered, and the errors."""

    values: dict[str, Value] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    failures: list[ChargerError] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)

    def take(self, found: xml_parser.Readings, owners: Mapping[str, str | None]) -> None:
        """Add the readings that belong to a device."""
        self.doubled += found.doubled
        for name, value in found.items():
            device = owners[name]
            if device is not None:
                self.values[name] = value
                self.answered.add(device)

    @property
    def unknown(self) -> bool:
        """Whether the engine did not understand the request at all."""
        return not self.answered and all(isinstance(failure, Absent) for failure in self.failures)

    def worst(self) -> ChargerError | None:
        """The most informative failure: any other one before "no such document"."""
        if self.doubled and all(isinstance(failure, Absent) for failure in self.failures):
            return Garbled(f"{self.doubled[0]} is sent twice with different values")
        return min(self.failures, key=lambda failure: isinstance(failure, Absent), default=None)


class ValuesReader:
    """Reads values and remembers the strategy; one caller at a time."""

    def __init__(self, dialect: NegotiatedDialect) -> None:
        self._dialect = dialect
        self.forget()

    def forget(self) -> None:
        """Forget the strategy, as the engine may be another one now."""
        self._late: set[str] = set()
        self._silent: set[str] = set()
        self._most: int | None = None
        self._mute: set[str] = set()
        self.way: ValueStrategy | None = None
        self._answers_alone = True

    def facts(self) -> Facts:
        """What was learned, to be stored."""
        return {
            "way": self.way.name if self.way is not None else None,
            "most": self._most,
            "mute": sorted(self._mute),
        }

    def recall(self, facts: Facts) -> None:
        """Take over what was learned and stored before."""
        self.forget()
        self.way = ValueStrategy[facts["way"]] if facts["way"] is not None else None
        self._most, self._mute = facts["most"], set(facts["mute"])

    def read(self, devices: Sequence[Device], deadline: float, only: Collection[str] | None = None) -> ValuesRead:
        """All values of `devices`; a device that fails does not hide the others.

        With `only`, at least these of them, by full id, and no more where the engine takes several by name.
        Raises the most informative failure if no device answered.
        """
        if only is not None:
            devices = [
                replace(device, variables=tuple(name for name in device.variables if name in only))
                for device in devices
            ]
            if self.way in (ValueStrategy.TOGETHER, ValueStrategy.EACH, ValueStrategy.STATE):
                read = _Asking(self._dialect, devices, deadline, proven=False)
                if self._by_name(read):
                    return read
                gone = next((error for error in read.failures if isinstance(error, TimedOut | Unreachable)), None)
                if gone is not None and not read.answered:
                    raise gone
                if gone is not None:
                    return read
        failures: list[ChargerError] = []
        ways = list(ValueStrategy) if self.way is None else [self.way, *ValueStrategy]
        for way in ways:
            read = _Asking(self._dialect, devices, deadline, proven=way is self.way)
            self._by(way, read)
            if read.answered:
                self.way = way
                return read
            failures.extend(read.failures)
            if way is self.way and not read.unknown:
                break
            is_late = self._dialect.transport.clock.monotonic() >= deadline
            if is_late or any(isinstance(failure, Unreachable) for failure in read.failures):
                break
            if not read.unknown:
                self._dialect.doubt = True
            self.way = None
        raise ValuesRead(failures=failures).worst() or Absent("the engine answers no request for values")

    def _by_name(self, read: "_Asking") -> bool:
        """Ask for variables in one request; False if there are too many or not all devices answered.

        Some engines answer no more than the first few: a name that stays away is asked for once more, alone.
        """
        if len(read.names) < 2 or endpoints.VALUES_BY_NAME.head(read.names, MAX_NAMES) != read.names:
            return False
        if not read.ask(endpoints.VALUES_BY_NAME, read.names):
            return False
        missing = [name for name in read.names if name not in read.values and name not in self._mute]
        if missing:
            read.ask(endpoints.VALUES_BY_NAME, missing[:1])
            if missing[0] in read.values:
                self._dialect.disprove(endpoints.VALUES_BY_NAME)
                return False
            self._mute.update(missing)
            read.forgive_missing_names()
        return read.answered == set(read.ids)

    def _by(self, way: ValueStrategy, read: "_Asking") -> None:
        match way:
            case ValueStrategy.TOGETHER:
                self._together(read)
            case ValueStrategy.EACH:
                if self._answers_alone:
                    self._each(read, endpoints.VALUES_BY_DEVICE)
            case ValueStrategy.STATE:
                self._each(read, endpoints.DEVICE_STATE)
            case ValueStrategy.BATCH:
                self._batches(read)
            case ValueStrategy.ONE:
                self._one_by_one(read)

    def _together(self, read: "_Asking") -> None:
        """As many devices in a request as the engine answers: some take no more than the first few."""
        left = read.ids if len(read.ids) > 1 and (read.proven or self._may_take_several(read)) else []
        while left:
            chunk = endpoints.VALUES_BY_DEVICE.head(left, self._most or len(left))
            left = left[len(chunk) :]
            if not read.ask(endpoints.VALUES_BY_DEVICE, chunk):
                break
            silent = [id for id in chunk if id not in read.answered]
            count = len(chunk) - len(silent)
            if count > 1 and silent == chunk[count:] and silent and silent[0] not in self._silent:
                if not read.ask(endpoints.VALUES_BY_DEVICE, silent[:1]):
                    break
                if silent[0] in read.answered:
                    self._most = count
                    left = [*silent[1:], *left]
                else:
                    self._silent.add(silent[0])
        self._silent -= read.answered
        if read.unknown:
            self._dialect.disprove(endpoints.VALUES_BY_DEVICE)

    def _may_take_several(self, read: "_Asking") -> bool:
        """Whether it is worth trying: an engine that does not answer for one device does not for several."""
        if self._dialect.separators:
            return True
        largest = max(read.devices, key=lambda device: len(device.variables))
        alone = _Asking(self._dialect, [largest], read.deadline, proven=False)
        self._answers_alone = not alone.ask(endpoints.VALUES_BY_DEVICE, alone.ids) or bool(alone.answered)
        read.failures += alone.failures
        return bool(alone.answered)

    def _each(self, read: "_Asking", question: Endpoint) -> None:
        """One request a device; one that was too slow last time comes last, so that it holds up no other."""
        for count, id in enumerate(sorted(read.ids, key=lambda id: id in self._late), start=1):
            self._late.discard(id)
            if not read.ask(question, [id]):
                self._late.add(id)
                break
            if count == 2 and not read.answered:
                break

    def _batches(self, read: "_Asking") -> None:
        """As many variables in a request as the engine takes: two to begin with, half after a failure."""
        names, most = read.names, 2
        while len(names) > 1 or (names and read.answered):
            chunk = endpoints.VALUES_BY_NAME.head(names, most)
            failed = len(read.failures)
            if not read.ask(endpoints.VALUES_BY_NAME, chunk):
                return
            if len(read.failures) == failed or len(chunk) == 1:
                names = names[len(chunk) :]
                most = MAX_BATCH if read.proven or most * 2 > MAX_BATCH else most * 2
            elif read.answered:
                read.failures.pop()
                most = len(chunk) // 2
            else:
                return
        read.forgive_missing_names()

    def _one_by_one(self, read: "_Asking") -> None:
        for count, name in enumerate(read.names, start=1):
            if not read.ask(endpoints.VALUES_BY_NAME, [name]):
                return
            if count == 5 and not read.answered:
                return
        read.forgive_missing_names()


class _Asking(ValuesRead):
    """A read under way: what was asked of whom, until when, and what came."""

    def __init__(
        self, dialect: NegotiatedDialect, devices: Sequence[Device], deadline: float, proven: bool
    ) -> None:
        super().__init__()
        self._dialect = dialect
        self.deadline = deadline
        self.proven = proven
        self.devices = devices
        self.ids = [device.id for device in devices]
        # STATUS first: without it a device's other values prove nothing.
        self.names = sorted(
            (name for device in devices for name in device.variables),
            key=lambda name: not name.endswith(".STATUS"),
        )

    def ask(self, question: Endpoint, names: list[str]) -> bool:
        """Ask, take what comes, note what fails; False once there is no sense in asking on.

        Until anything was answered in an unproven way, a request gets a third of the time that is left.
        """
        deadline = self.deadline
        if not (self.proven or self.answered):
            deadline -= (deadline - self._dialect.transport.clock.monotonic()) * 2 / 3

        def covered(found: xml_parser.Readings) -> int:
            owners.update((name, owner(name, known)) for name in found)
            received = found.keys() if question is endpoints.VALUES_BY_NAME else set(owners.values())
            return len(received & set(names))

        known = set(self.ids)
        owners: dict[str, str | None] = {}
        found: xml_parser.Readings | None
        try:
            if len(names) == 1:
                found = self._dialect.one(question, names[0], xml_parser.values, deadline)
                if not covered(found):
                    raise _uncovered(names[0], found)
            else:
                found = self._dialect.several(question, names, xml_parser.values, covered, self.deadline)
            if found is None:
                raise Absent(f"the engine does not answer for several names, {names[0]} among them, at once")
        except (TimedOut, Unreachable) as error:
            self.failures.append(error)
            return False
        except (Absent, Garbled, AccessDenied) as error:
            self.failures.append(error)
            return bool(self.answered) or not isinstance(error, AccessDenied)
        self.take(found, owners)
        return True

    def forgive_missing_names(self) -> None:
        """A variable that the engine does not know has no sample; that is no failure of the document."""
        if self.answered:
            self.failures = [failure for failure in self.failures if not isinstance(failure, Absent)]


def _uncovered(name: str, found: xml_parser.Readings) -> Absent:
    """Why an answer is none to what was asked."""
    if not found:
        return Absent(f"the engine sends no value for {name}")
    first = quote_short(", ".join(found))
    return Absent(f"the engine answers for {name} with values of other names ({first}), which is not supported")
