"""What goes wrong in a simulated life. Each is a script: it yields the seconds until it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from shutil import rmtree
from typing import TYPE_CHECKING

from ccl_exporter.errors import TimedOut, Unreachable
from ccl_exporter.sessions.store import SESSIONS_FILE
from ccl_exporter.settings import InfluxSettings
from ccl_exporter.simulator.faults import Fault
from simulation.charger import REGISTERS, charge_rewrite, factor_rewrite, value_rewrite
from simulation.exporter import Killed

if TYPE_CHECKING:
    from simulation.life import Life

Script = Iterator[float]

_POWERS = r"[^<]*\bAPI[123]?"

_GLITCH = (4.0, 50.0)
"""Seconds of a glitch in which all documents agree; a longer one cannot be distinguished from a real value."""

_LONG = (60.0, 3600.0)
"""Seconds of a glitch that another document contradicts."""

_SENTINELS = (32_767.0, 65_535.0, 2**31 - 1.0, 2**32 - 1.0, 2**63 - 1.0, 2**64 - 1.0, -(2.0**31), -(2.0**63))


# The charger answers wrongly


def zeros(life: Life) -> Script:
    """All registers are 0, in chargeInfo too."""
    with life.charger.faulty(Fault("zeros")):
        yield life.random.uniform(*_GLITCH)


def rollback(life: Life) -> Script:
    """All registers go back together."""
    share = life.random.uniform(0.01, 0.95)
    with life.charger.rewritten(
        value_rewrite(REGISTERS, lambda value: value * share),
        charge_rewrite("activeEnergy", lambda value: value * share),
    ):
        yield life.random.uniform(*_GLITCH)


def register_alone(life: Life) -> Script:
    """The plug's register is another one than chargeInfo says."""
    factor = life.random.choice((0.0, 0.0025, 0.5, 2.0, 1000.0, -1.0))
    with life.charger.rewritten(value_rewrite(life.charger.plug_registers, lambda value: value * factor)):
        yield life.random.uniform(*_LONG)


def charge_info_alone(life: Life) -> Script:
    """chargeInfo's copy of the register is wrong."""
    factor = life.random.choice((0.0, 0.5, 1000.0))
    with life.charger.rewritten(charge_rewrite("activeEnergy", lambda value: value * factor)):
        yield life.random.uniform(*_GLITCH)


def sentinel(life: Life) -> Script:
    """A register or a power is the largest or least number of its type."""
    number = life.random.choice(_SENTINELS) * life.random.choice((1.0, 0.1, 0.01, 0.001))
    names = life.random.choice((life.charger.plug_registers, _POWERS, rf"{_POWERS}|[^<]*\b[AV]I[123]?"))
    with life.charger.rewritten(value_rewrite(names, lambda _: number)):
        yield life.random.uniform(*_LONG)


def gigawatts(life: Life) -> Script:
    """A power that no house has."""
    with life.charger.rewritten(value_rewrite(_POWERS, lambda _: 4_294_967.295)):
        yield life.random.uniform(*_LONG)


def thousandfold(life: Life) -> Script:
    """Registers are sent in watt-hours: at first only the values, with the next inventory their description."""
    names = life.charger.plug_registers
    with life.charger.rewritten(value_rewrite(names, lambda value: value * 1000), factor_rewrite(names, 0)):
        yield life.random.uniform(*_LONG)


def wrong_factor(life: Life) -> Script:
    """The description of registers is wrong for a while; it is read again as the engine was configured anew."""
    with life.charger.rewritten(factor_rewrite(life.charger.plug_registers, life.random.choice((0, 6)))):
        life.charger.site.new_configuration()
        yield life.random.uniform(*_LONG)
    life.charger.site.new_configuration()


def earlier_session(life: Life) -> Script:
    """chargeInfo is that of some minutes ago, of another session perhaps."""
    kept: dict[str, str] = {}

    def rewrite(target: str, text: str) -> str:
        return kept.setdefault(target, text) if "chargeInfo" in target else text

    with life.without_sessions():
        with life.charger.rewritten(rewrite):
            yield life.random.uniform(300.0, 3000.0)
        # The exporter keeps chargeInfo for a read or two.
        yield 700.0


def broken_document(life: Life) -> Script:
    """Some documents, or all, are no XML, or none at all."""
    kind = life.random.choice(("garbled", "truncated", "html", "empty", "status-500", "status-404", "not-granted"))
    path = life.random.choice(("", "values.xml", "chargeInfo", "deviceInfo", "varInfo", "plugInfo", "status.xml"))
    with life.charger.faulty(Fault(kind, path)):
        yield life.random.uniform(*_LONG)


def device_error(life: Life) -> Script:
    """A meter does not answer its engine: STATUS 34 and zeros."""
    with life.charger.faulty(Fault("device-error", arg=life.random.choice([*life.charger.meters.values(), ""]))):
        yield life.random.uniform(*_LONG)


def vanished_meter(life: Life) -> Script:
    """A meter is not listed any more."""
    with life.charger.faulty(Fault("vanish", arg=life.random.choice([*life.charger.meters.values()]))):
        yield life.random.uniform(*_LONG)


def engine_clock(life: Life) -> Script:
    """The engine's clock is set, perhaps to where it starts when it was never set."""
    ahead = life.random.choice((-3600.0, 3600.0, -86_400.0, 86_400.0 * 400, 946_684_815.0 - life.time.now))
    life.charger.site.set_clock(ahead)
    yield life.random.uniform(*_LONG)
    life.charger.site.set_clock(0.0)


def engine_restart(life: Life) -> Script:
    """The engine is gone for a minute, and answers zeros at first."""
    with life.charger.failing(Unreachable):
        yield life.random.uniform(20.0, 90.0)
    life.charger.site.reboot()
    with life.charger.faulty(Fault("zeros")):
        yield 8.0


def outage(life: Life) -> Script:
    """The charger does not answer, or nothing on the way to it."""
    with life.charger.failing(life.random.choice((Unreachable, TimedOut))):
        yield life.random.choice((60.0, 600.0, 7200.0, 30_000.0))


def other_meter(life: Life) -> Script:
    """Another meter, while no car charges."""
    for plug in life.charger.plugs:
        if not plug.under_way() and life.shows_all():
            life.reset(plug, life.random.choice((0.0, 0.0, 30.0, 700.0)))
    yield 60.0


# The exporter's host


def kill(life: Life) -> Script:
    """The process is killed between two steps, and started again."""
    life.kill()
    yield life.random.choice((1.0, 10.0, 100.0, 7200.0))
    life.start()


def kill_while_it_asks(life: Life) -> Script:
    """The process is killed while it reads the charger, or while the database answers."""

    def interrupt() -> None:
        raise Killed

    where = life.random.choice((life.charger, life.database))
    where.interrupt = interrupt
    while life.exporter is not None:
        yield 5.0
    yield 2.0
    life.start()


def kill_with_zeros(life: Life) -> Script:
    """The process is killed, and the engine answers zeros for some seconds when it starts again."""
    life.kill()
    yield life.random.choice((5.0, 1000.0))
    with life.charger.faulty(Fault("zeros")):
        life.start()
        yield life.random.uniform(4.0, 30.0)


def restart(life: Life) -> Script:
    """The process ends in peace, and is started again with other settings."""
    life.stop()
    yield life.random.choice((1.0, 60.0, 3000.0))
    life.start()


def host_clock(life: Life) -> Script:
    """The host's clock is wrong for a while."""
    life.time.wall_ahead = life.random.choice((-3600.0, 3600.0, -7 * 86_400.0, 86_400.0))
    yield life.random.uniform(*_LONG)
    life.time.wall_ahead = 0.0


def host_without_clock(life: Life) -> Script:
    """The host starts in 1970, and gets the time after a while."""
    life.kill()
    yield 60.0
    life.kill()
    life.time.boot()
    life.time.wall_ahead = -life.time.now + 30.0
    life.start()
    yield life.random.uniform(20.0, 1000.0)
    life.time.wall_ahead = 0.0


def suspended(life: Life) -> Script:
    """The host sleeps."""
    life.time.suspend(life.random.choice((60.0, 3000.0, 20_000.0)))
    yield 1.0


def no_scrapes(life: Life) -> Script:
    """Prometheus is away."""
    life.is_scraped = False
    yield life.random.uniform(600.0, 20_000.0)
    life.is_scraped = True


def reload(life: Life) -> Script:
    """Other settings."""
    life.change_settings()
    yield 30.0


def no_threads(life: Life) -> Script:
    """The host gives no more threads while an output is opened."""
    life.threads.is_failing = True
    life.change_settings(output=True)
    yield life.random.uniform(1.0, 300.0)
    life.threads.is_failing = False


def failing_callback(life: Life) -> Script:
    """The output raises an unexpected error."""
    if life.exporter is not None:
        life.exporter.pusher.is_failing = True
    yield life.random.uniform(60.0, 900.0)
    if life.exporter is not None:
        life.exporter.pusher.is_failing = False


# The state folder and the database


def full_disk(life: Life) -> Script:
    """No file can grow."""
    with life.unwritable():
        yield life.random.uniform(60.0, 3600.0)


def no_folder(life: Life) -> Script:
    """A file stands where the state folder was; a process that still runs then goes on without what was in it."""
    exporter = life.exporter
    life.witness.keep_sessions(life.folder / SESSIONS_FILE)
    with life.unwritable(is_full=False):
        aside = life.folder.with_suffix(".aside")
        life.folder.rename(aside)
        life.folder.write_text("")
        yield life.random.uniform(60.0, 3600.0)
        life.folder.unlink()
        if life.exporter is exporter and exporter is not None:
            rmtree(aside)
        else:
            aside.rename(life.folder)


def removed_log(life: Life) -> Script:
    """The session log is removed while it is used, just before a commit."""
    if life.exporter is not None:
        life.witness.keep_sessions(life.folder / SESSIONS_FILE)
        for file in life.folder.glob(f"{SESSIONS_FILE}*"):
            file.unlink()
        # Killed before that is noticed, the process would have lost what was in it.
        life.exporter.recorder.worker.wake()
    yield 60.0


def removed_queue(life: Life) -> Script:
    """The queue is removed while it is used."""
    if life.exporter is not None:
        for file in life.folder.glob("*.spool*"):
            file.unlink()
    yield 60.0


def database_outage(life: Life) -> Script:
    """The database cannot be had; the process may be killed or get other settings meanwhile."""
    life.database.is_down = True
    yield life.random.choice((300.0, 7200.0, 20_000.0))
    match life.random.randrange(3):
        case 0:
            yield from kill(life)
        case 1:
            life.change_settings(output=True)
    yield life.random.choice((300.0, 7200.0))
    life.database.is_down = False


def database_refuses(life: Life) -> Script:
    """The database refuses a field, or its client fails."""
    life.database.refuses = life.random.choice(("power_watts", "state_text", ""))
    life.database.raises = not life.database.refuses
    yield life.random.uniform(60.0, 3000.0)
    life.database.refuses, life.database.raises = "", False


FAULTS: tuple[Callable[[Life], Script], ...] = (
    *(zeros, rollback, register_alone, charge_info_alone, sentinel, gigawatts, thousandfold, wrong_factor),
    *(earlier_session, broken_document, device_error, vanished_meter, engine_clock, engine_restart, outage),
    *(other_meter, kill, kill_while_it_asks, kill_with_zeros, restart, host_clock, host_without_clock, suspended),
    *(no_scrapes, reload, no_threads, failing_callback, full_disk, no_folder, removed_log, removed_queue),
    *(database_outage, database_refuses),
)
BESIDE = (kill, kill_with_zeros, reload, restart, no_scrapes, database_outage)
"""What happens besides, in the middle of another fault."""


def other_settings(settings: InfluxSettings) -> InfluxSettings:
    return replace(settings, interval=900.0 if settings.interval == 600.0 else 600.0)
