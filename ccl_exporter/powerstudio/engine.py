"""One engine: what is read when, with as few requests to its small web server as possible.

A read costs one request for the values where the engine takes several devices at once.
Besides that it asks for at most one more document: what a change in the values calls for, or a slow one.
Only the first read and a changed inventory may take more.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

from ccl_exporter.errors import Absent, ChargerError, Garbled, TimedOut, Unreachable
from ccl_exporter.powerstudio import endpoints, xml_parser
from ccl_exporter.powerstudio.dialect import NegotiatedDialect
from ccl_exporter.powerstudio.inventory import Inventory, Selector, VariableSelection, owner, variable_ids
from ccl_exporter.powerstudio.inventory_reader import InventoryProgress, InventoryReader
from ccl_exporter.powerstudio.learned import LearnedFile, holds
from ccl_exporter.powerstudio.snapshot import (
    ChargeRecord,
    Document,
    DocumentName,
    PlugStateRecord,
    Snapshot,
    SystemStatus,
    Value,
)
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.powerstudio.value_reader import ValuesReader, ValueStrategy
from ccl_exporter.text import count

log = logging.getLogger(__name__)

SLOW = 60.0
"""Seconds between two looks at a slow document, and between two readings of an inventory that flaps."""

INVENTORY_EVERY = 3600.0
"""Seconds between two readings of the inventory without a reason."""

SESSION_SIGNS = ("STATE", "CC", "STOPPED", "CHARGE", "REQUESTDATE", "BEGINDATE", "ENDDATE")
PROGRESS_SIGNS = ("AE", "AEP")
PLUG_SIGNS = ("STATE", "CC", "LOCK", "ERROR")
"""Variables of a plug (protocol 9) that change when a session begins or ends, when it goes on, and with
plugState.xml."""

CHARGING = 8.0
"""The plug state in which energy flows (protocol 9.1): chargeInfo changes with each read then."""

_Side = Literal["charge_info", "plug_state", "status", "devices", "inventory"]
_SIDES: tuple[_Side, ...] = ("charge_info", "plug_state", "status", "devices", "inventory")

_PATHS: Mapping[_Side, str] = {
    "charge_info": endpoints.CHARGE_INFO,
    "plug_state": endpoints.PLUG_STATE,
    "status": endpoints.STATUS,
}


Signs = tuple[Value, ...]
"""The values that show a change of any plug or session."""


@dataclass
class CachedResponse:
    """A document kept between reads: when it was requested, the result, and the values at that time.

    `missed` says that the last read had no time for it, or that it was not read yet.
    """

    asked: float = float("-inf")
    good: bool = False
    missed: bool = True
    turns: Signs | None = None
    signs: Signs | None = None


@dataclass
class ReadState:
    """One read under way, since `began` (monotonic); `over` once time or charger is gone."""

    began: float
    deadline: float
    wanted: Selector | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    asked: frozenset[str] | None = None
    answered: frozenset[str] = frozenset()
    up: bool = False
    over: bool = False


class SlowValueCache:
    """Values that hardly change: read `every` so many seconds, and kept meanwhile."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._values: Mapping[str, Value] = {}
        self._of: Inventory | None = None
        self._asked = float("-inf")

    def names(self, needed: VariableSelection, inventory: Inventory, now: float) -> frozenset[str]:
        """The variables to request now; the slow ones too if they are old or the inventory has changed.

        Variables that show a change of a plug or its session are always among them.
        """
        plugs = [plug.name for plug in inventory.plugs]
        often = needed.often | {
            f"{plug}.{sign}" for plug in plugs for sign in SESSION_SIGNS + PROGRESS_SIGNS + PLUG_SIGNS
        }
        if self._of is not inventory or now - self._asked >= self._every:
            return often | needed.rarely
        return often

    def keep(self, needed: VariableSelection, inventory: Inventory, read: ReadState) -> None:
        """Store the values that came, or add the stored ones; none of a device that is not available."""
        if needed.rarely <= read.values.keys():
            self._values = {name: read.values[name] for name in needed.rarely}
            self._of, self._asked = inventory, read.began
        elif self._of is inventory:
            kept = {name: value for name, value in self._values.items() if owner(name, read.answered) is not None}
            read.values = {**kept, **read.values}


class Engine:
    """Reads one engine and remembers what it learned of it; one caller at a time.

    Uses the clock of its transport. What it learns is stored in `memory`, if there is one, for a later run.
    """

    def __init__(self, name: str, transport: Transport, memory: LearnedFile | None = None) -> None:
        self.name = name
        self._memory = memory
        self._may_recall = memory is not None
        self._was_known = False
        self._is_announced = False
        self._level = logging.INFO
        self._transport = transport
        self._clock = transport.clock
        self._dialect = NegotiatedDialect(self._transport)
        self._values = ValuesReader(self._dialect)
        self._inventory = InventoryReader(self._dialect)
        self._inventory.begin()
        self._inventory_at = self._clock.monotonic()
        self._changed_at = float("-inf")
        self._changed = False
        self._thorough = True
        self._repair_after = SLOW / 2
        self._seen: frozenset[str] = frozenset()
        self._rare = SlowValueCache(SLOW)
        self._ever: set[str] = set()
        self._held: dict[_Side, CachedResponse] = {side: CachedResponse() for side in _SIDES}
        self._charge_waits = False
        self._charges: Mapping[str, ChargeRecord] = {}
        self._plug_states: Mapping[str, PlugStateRecord] = {}
        self._status: SystemStatus | None = None
        self._stamps: tuple[str, ...] | None = None
        self._documents: dict[DocumentName, Document] = {}
        self._failing: set[DocumentName] = set()
        self._failed_in_round: set[DocumentName] = set()

    @property
    def way(self) -> ValueStrategy | None:
        """The strategy for the values of this engine, once it is known."""
        return self._values.way

    @property
    def separators(self) -> tuple[str, ...]:
        """The separators between parameters that this engine is known to accept."""
        return self._dialect.separators

    @property
    def url(self) -> str:
        return self._transport.url

    @property
    def progress(self) -> InventoryProgress:
        """The progress of reading the inventory; for any thread."""
        return self._inventory.progress

    @property
    def was_known(self) -> bool:
        """Whether the inventory is that of an earlier run."""
        return self._was_known

    @property
    def is_complete(self) -> bool:
        """Whether the inventory was read; for any thread."""
        return not self._thorough

    def close(self) -> None:
        self._transport.close()

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self._transport.requests

    def reach(self, timeout: float) -> None:
        """Check that the engine answers and its devices are known or listed; raises `ChargerError`.

        `timeout` is in seconds. What is read here is not read again.
        """
        began = self._clock.monotonic()
        if self._may_recall:
            self._recall(ReadState(began, began + timeout))
        if not self._inventory.inventory.devices:
            self._inventory.step(began + timeout)
            self._documents["devices"] = Document("devices", True, self._clock.monotonic() - began)
            self._note_devices()

    def learn(self, timeout: float) -> bool:
        """Read one more piece of the inventory; False if the charger does not answer within `timeout` seconds."""
        began = self._clock.monotonic()
        read = ReadState(began, began + timeout)
        self._go_on(read)
        return not read.over

    def read(self, timeout: float, wanted: Selector | None = None, describe: float = inf) -> Snapshot:
        """Everything that can be read within `timeout` seconds; never raises for what the charger does.

        `wanted` may leave out variables whose values are not needed. Descriptions of variables are asked for
        until the read has taken `describe` seconds, and waited for as long again; `learn` reads the others.
        """
        clock, before = self._clock, self._transport.requests
        taken, started = clock.wall(), clock.monotonic()
        self._transport.date = None
        read = ReadState(started, started + timeout, wanted)
        self._read_all(read, describe)
        return Snapshot(
            taken=taken,
            seconds=clock.monotonic() - started,
            timeout=timeout,
            requests=self._transport.requests - before,
            up=read.up,
            documents=tuple(self._documents[name] for name in sorted(self._documents)),
            inventory=self._inventory.inventory,
            values=read.values,
            asked=read.asked,
            answered=read.answered,
            plug_states=self._plug_states,
            charges=self._charges,
            status=self._status,
            clock=self._transport.date,
            plug_ids=self._inventory.plug_ids,
        )

    def _read_all(self, read: ReadState, describe: float) -> None:
        if self._may_recall and not self._inventory.inventory.devices:
            self._recall(read)
        if self._inventory.next_document is None:
            self._keep_inventory(self._clock.monotonic() - self._inventory_at)
        # Values are understood once the devices are known; yet half the time is for the values.
        half = self._clock.monotonic() + (read.deadline - self._clock.monotonic()) / 2
        while (
            self._thorough
            and not self._inventory.knows_devices
            and not read.over
            and self._clock.monotonic() < half
        ):
            if not self._step(read) and not self._inventory.inventory.devices:
                break
        if self._inventory.inventory.devices and not read.over:
            self._read_values(read)
        self._read_sides(read)
        while self._thorough and self._inventory.inventory.devices and not read.over:
            now = self._clock.monotonic()
            if self._inventory.next_document != "var_info":
                self._go_on(read)
            elif now < read.began + describe:
                piece = replace(read, deadline=min(read.deadline, now + describe))
                self._go_on(piece)
                read.over = piece.over
            else:
                break

    def _go_on(self, read: ReadState) -> None:
        """Read the next piece of the inventory, if there is one."""
        if self._inventory.next_document is not None:
            self._step(read)
        if self._inventory.next_document is None:
            self._thorough = False
            if self._is_announced:
                self._is_announced = False
                variables = variable_ids(self._inventory.inventory)
                log.log(
                    self._level, "%s: the inventory was read: %s", self.name, count(len(variables), "variable")
                )

    # The one place where a charger's failure becomes a value

    def _attempt(self, name: DocumentName, ask: Callable[[], None], read: ReadState) -> bool:
        """Ask for a document, remember how it went, log when that changes.

        That an engine lacks a document is no failure, unless nothing goes without it.
        """
        started, before = self._clock.monotonic(), self._transport.requests
        try:
            ask()
        except ChargerError as error:
            read.over = isinstance(error, Unreachable) or (
                isinstance(error, TimedOut) and self._clock.monotonic() >= read.deadline - 0.05
            )
            if isinstance(error, Absent) and name not in ("devices", "values"):
                self._documents.pop(name, None)
                self._recovered(name)
            else:
                # It is kept until the next try, but not all that its way here holds on to.
                error.__traceback__ = error.__cause__ = error.__context__ = None
                self._documents[name] = Document(name, False, self._clock.monotonic() - started, error)
                if name not in self._failing:
                    log.warning("%s: cannot read %s: %s", self.name, name, error)
                self._failing.add(name)
            return False
        if self._transport.requests > before or name in self._failing:
            self._documents[name] = Document(
                name, name not in self._failed_in_round, self._clock.monotonic() - started
            )
        if name not in self._failed_in_round:
            self._recovered(name)
        return True

    def _recovered(self, name: DocumentName) -> None:
        if name in self._failing:
            self._failing.discard(name)
            log.info("%s: %s can be read again", self.name, name)
            if name == "devices":
                # An engine that had none was starting, and may have other documents now.
                self._dialect.absent.clear()

    # Inventory

    def _recall(self, read: ReadState) -> None:
        """Take what was learned in an earlier run if the engine has the same change stamps."""
        facts = self._memory.load() if self._memory is not None else None
        if facts is None:
            self._may_recall = False
            return
        # An engine that is slow with this document alone must not be taken for absent.
        asked = replace(read, deadline=read.began + (read.deadline - read.began) / 3)
        self._read_side("status", asked)
        error = self._documents["status"].failure if "status" in self._documents else None
        if error is not None:
            read.over = isinstance(error, Unreachable)
            return
        self._may_recall = False
        if not holds(facts, self._status):
            log.info("%s: has changed since the last run", self.name)
            return
        self._dialect.recall(facts["dialect"])
        self._values.recall(facts["values"])
        self._inventory.recall(facts["inventory"])
        self._note_devices()
        for name in facts["documents"]:
            self._documents.setdefault(name, Document(name, True, 0.0))
        self._thorough, self._was_known = False, True
        log.info("%s: has not changed since the last run; its inventory is known", self.name)

    def _remember(self) -> None:
        """Keep what was learned, if something will show whether it still holds."""
        if (
            self._memory is not None
            and self._stamps is not None
            and any(self._stamps)
            and not self._failed_in_round
        ):
            self._memory.save(
                {
                    "stamps": self._stamps,
                    "documents": sorted(name for name, document in self._documents.items() if document.success),
                    "dialect": self._dialect.facts(),
                    "values": self._values.facts(),
                    "inventory": self._inventory.facts(),
                }
            )

    def _note_devices(self) -> None:
        self._ever.update(device.id for device in self._inventory.inventory.devices)

    def _begin_inventory(self, thorough: bool, forget: bool, level: int = logging.INFO) -> None:
        """Read the inventory again: `thorough` as fast as scrapes allow, else one request a scrape.

        `forget` what was found out about the engine's ways too, as it may be another one by now.
        Begin and end are logged with `level`.
        """
        self._inventory_at = self._clock.monotonic()
        self._level = level
        self._thorough = thorough
        self._failed_in_round.clear()
        if forget:
            self._dialect.forget()
            self._inventory.forget()
            self._values.forget()
        else:
            # The change stamps do not tell that a document was missing only for a while.
            self._dialect.absent.clear()
        self._inventory.begin()

    def _keep_inventory(self, age: float) -> None:
        """Read the inventory again when it is old, and soon what failed of it, each time after a longer pause."""
        if age >= INVENTORY_EVERY:
            self._repair_after = SLOW / 2
            self._begin_inventory(thorough=False, forget=self._dialect.doubt)
        elif self._failed_in_round and age >= self._repair_after:
            self._repair_after *= 2
            failed = frozenset(self._failed_in_round)
            self._failed_in_round.clear()
            self._thorough = True
            self._inventory.begin(failed)

    def _step(self, read: ReadState) -> bool:
        name = self._inventory.next_document
        if name is None:
            return True
        done = self._attempt(name, lambda: self._inventory.step(read.deadline), read)
        if name in self._failing:
            self._failed_in_round.add(name)
        self._note_devices()
        if name == "devices" and done and self._thorough:
            self._is_announced = True
            devices = count(len(self._inventory.inventory.devices), "device")
            log.log(self._level, "%s: reading the inventory of %s", self.name, devices)
        if self._inventory.next_document is None:
            self._remember()
        return done

    # Values

    def _read_values(self, read: ReadState) -> None:
        inventory = self._inventory.inventory
        needed = read.wanted(inventory) if read.wanted is not None else None
        names = self._rare.names(needed, inventory, read.began) if needed is not None else None
        askable = [device for device in inventory.devices if device.variables or device.type is None]
        if names is not None:
            askable = [device for device in askable if not names.isdisjoint(device.variables)]
            read.asked = frozenset(device.id for device in askable)

        def ask() -> None:
            try:
                found = self._values.read(askable, read.deadline, names)
            except Absent:
                # The devices may have other names by now.
                self._look_again("the engine knows none of its devices", logging.DEBUG)
                raise
            read.values, read.answered, read.up = found.values, frozenset(found.answered), True
            failure = found.worst()
            if failure is not None and not isinstance(failure, Absent):
                raise failure
            self._notice_changes(read)
            silent = [device.id for device in askable if device.variables and device.id not in found.answered]
            if silent:
                raise Garbled(f"the engine sends no value of the device {silent[0]}")

        self._attempt("values", ask, read)
        if needed is not None:
            self._rare.keep(needed, inventory, read)

    def _notice_changes(self, read: ReadState) -> None:
        """Read the inventory again when a variable or a device has come or gone since the last read."""
        known = variable_ids(self._inventory.inventory)
        new = read.values.keys() - known
        gone = set() if read.wanted is not None else self._seen - read.values.keys()
        if read.wanted is not None:
            self._seen |= new
        elif self._seen != read.values.keys():
            self._seen = known if known == read.values.keys() else frozenset(read.values)
        self._inventory.learn(new)
        self._inventory.unlearn(gone)
        self._changed = self._changed or bool(new or gone)
        if self._changed:
            self._look_again("variables were added or removed", logging.INFO)

    def _look_again(self, reason: str, level: int) -> None:
        """Read the inventory again because of what the values showed, but not all the time."""
        reading = self._inventory.next_document is not None
        if not reading and self._clock.monotonic() - self._changed_at >= SLOW:
            log.log(level, "%s: %s; reading the inventory again", self.name, reason)
            self._changed_at = self._clock.monotonic()
            self._changed = False
            self._begin_inventory(thorough=True, forget=False, level=level)

    # Documents beside the values

    def _signs(self, read: ReadState, variables: tuple[str, ...]) -> Signs | None:
        """What the values show of all plugs; None if they show none, or one whose state cannot be trusted."""
        plugs = [plug.name for plug in self._inventory.inventory.plugs] or sorted(self._charges)
        if not plugs or not all(self._is_readable(f"{plug}.STATE", read) for plug in plugs):
            return None
        return tuple(read.values.get(f"{plug}.{variable}") for variable in variables for plug in plugs)

    def _is_readable(self, name: str, read: ReadState) -> bool:
        """Whether a variable has a number, and no device or sub-device that it is in reports a STATUS but 1."""
        if not isinstance(read.values.get(name), float):
            return False
        ends = [end for end, character in enumerate(name) if character == "."]
        return all(read.values.get(f"{name[:end]}.STATUS", 1.0) == 1 for end in ends)

    def _charging(self, read: ReadState) -> bool:
        return CHARGING in (self._signs(read, ("STATE",)) or ())

    def _due(self, side: _Side, read: ReadState) -> bool:
        held = self._held[side]
        waited = self._clock.monotonic() - held.asked
        if _PATHS.get(side) in self._dialect.absent:
            return False
        match side:
            case "charge_info":
                signs = self._signs(read, SESSION_SIGNS + PROGRESS_SIGNS)
                return not held.good or signs is None or signs != held.signs or self._charging(read)
            case "plug_state":
                signs = self._signs(read, PLUG_SIGNS)
                return not held.good or signs is None or signs != held.signs
            case "status":
                return waited >= SLOW
            case "devices":
                # One that is missing may come back without a change of the stamps.
                ids = {device.id for device in self._inventory.inventory.devices}
                return not self._ever <= ids and not self._thorough and waited >= SLOW
            case "inventory":
                reading = self._inventory.next_document is not None and not self._thorough
                return reading and (waited >= SLOW or not self._charging(read))

    def _read_sides(self, read: ReadState) -> None:
        """All that is due in a thorough read, else one: what waited longest.

        A turn of a charge comes before that, and a running charge is never passed over twice.
        Where the values show no plug, nothing tells whether what is held of it still holds: it is asked for too.
        Likewise what there was no time for in the last read.
        """
        due = [side for side in _SIDES if self._due(side, read)]
        signs = self._signs(read, SESSION_SIGNS)
        turned = signs != self._held["charge_info"].turns
        first = "charge_info" if turned or self._charge_waits else None
        if self._thorough and self._inventory.inventory.devices:
            chosen = due
        else:
            blind = [
                side
                for side in due
                if side in ("charge_info", "plug_state") and (signs is None or self._held[side].missed)
            ]
            others = [side for side in due if side not in blind]
            chosen = blind + sorted(others, key=lambda side: (side != first, self._held[side].asked))[:1]
        self._charge_waits = "charge_info" in due and "charge_info" not in chosen
        for side in chosen:
            if not read.over:
                self._read_side(side, read)
            elif side != "devices" and side != "inventory":  # noqa: PLR1714 - mypy narrows only this
                self._documents[side] = Document(side, False, 0.0)
                self._held[side].missed = True
        self._drop_stale(read)

    def _read_side(self, side: _Side, read: ReadState) -> None:
        held = self._held[side]
        held.asked, held.missed = self._clock.monotonic(), False
        match side:
            case "charge_info":
                held.good = self._attempt(side, lambda: self._read_charges(read), read)
                held.turns = self._signs(read, SESSION_SIGNS)
                held.signs = self._signs(read, SESSION_SIGNS + PROGRESS_SIGNS)
            case "plug_state":
                held.good = self._attempt(side, lambda: self._read_plug_states(read), read)
                held.signs = self._signs(read, PLUG_SIGNS)
            case "status":
                self._attempt(side, lambda: self._read_status(read), read)
            case "devices":
                self._attempt(side, lambda: self._look_for_lost(read), read)
            case "inventory":
                self._step(read)

    def _read_charges(self, read: ReadState) -> None:
        self._charges = {}
        self._charges = self._dialect.document(endpoints.CHARGE_INFO, xml_parser.charge_info, read.deadline)
        read.up = read.up or bool(self._charges)

    def _read_plug_states(self, read: ReadState) -> None:
        self._plug_states = {}
        self._plug_states = self._dialect.document(endpoints.PLUG_STATE, xml_parser.plug_state, read.deadline)
        read.up = read.up or bool(self._plug_states)

    def _read_status(self, read: ReadState) -> None:
        self._status = None
        self._status = self._dialect.document(endpoints.STATUS, xml_parser.system_status, read.deadline)
        if self._stamps is not None and self._stamps != self._status.stamps:
            log.info("%s: the engine was restarted or reconfigured; reading everything again", self.name)
            self._ever.clear()
            self._begin_inventory(thorough=True, forget=True)
        self._stamps = self._status.stamps

    def _look_for_lost(self, read: ReadState) -> None:
        ids = set(self._inventory.device_ids(read.deadline))
        if ids != {device.id for device in self._inventory.inventory.devices}:
            log.info("%s: devices were added or removed; reading the inventory again", self.name)
            self._begin_inventory(thorough=True, forget=False)

    def _drop_stale(self, read: ReadState) -> None:
        """What is held from earlier is served only while the values show that nothing has turned since."""
        charge, plug = self._held["charge_info"], self._held["plug_state"]
        signs = self._signs(read, SESSION_SIGNS)
        if signs != charge.turns or (signs is None and charge.asked < read.began):
            self._charges, charge.good = {}, False
        signs = self._signs(read, PLUG_SIGNS)
        if signs != plug.signs or (signs is None and plug.asked < read.began):
            self._plug_states, plug.good = {}, False
