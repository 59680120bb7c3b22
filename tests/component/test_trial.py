"""A trial of the commands at a simulated charger: what it finds, what it restores, what it never tells."""

from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from ccl_exporter.control.follow.limiter import SafeCurrentGuard
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.trial import Ask, Trial, TrialPlug, TrialReport
from ccl_exporter.control.write import Writer
from ccl_exporter.errors import WriteRejected
from ccl_exporter.simulator import Fault, Simulator, State

SPEED = 300.0
MODE3 = "Plug - Mode 3"


@pytest.fixture
def charger() -> Iterator[Simulator]:
    """A wallbox at speed with a vehicle that is not full."""
    with Simulator(autopilot=False, speed=SPEED) as simulator:
        simulator.site.plugs[0].plug_in(need_wh=1_000_000.0)
        yield simulator


class Bench:
    """A trial at a charger; `pending` is how much the next command still has to restore."""

    def __init__(self, charger: Simulator, folder: Path) -> None:
        self.charger, self.live = charger, charger.site.plugs[0]
        self.state = ControlState(folder, charger.url)
        self.said: list[str] = []
        self.report = TrialReport("CirCarLife Scada 4.2.3")

    def run(self, ask: Ask = lambda question: None) -> TrialReport:
        control = WritableTransport(self.charger.url)
        try:
            writer = Writer(control, self.state, 5.0, "charge trial", look_every=0.01)
            plug = TrialPlug(writer, self.state, None, 5.0)
            trial = Trial(plug, ask, self.said.append, wait=0.5)
            before = trial.check()
            guard = SafeCurrentGuard(self.state, plug.device, plug.variable, before.limits.percent)
            trial.run(before, guard, self.report)
        finally:
            control.close()
        return self.report

    @property
    def outcomes(self) -> dict[str, str]:
        return {finding.fact: finding.outcome for finding in self.report.findings}

    @property
    def reduction(self) -> object:
        with self.charger.site.present() as now:
            device = next(one for one in self.charger.site.devices() if one.name == MODE3)
            return device.values(now)["PREDUCTION"]

    @property
    def pending(self) -> int:
        with self.state.pending_restores() as pending:
            return len(pending)


@pytest.fixture
def bench(charger: Simulator, tmp_path: Path) -> Bench:
    return Bench(charger, tmp_path)


RESUMES = "a vehicle charges again by itself once a limit of 0 A is lifted"
PAUSES = "a limit of 0 A pauses the session and does not end it"


def test_a_charger_as_it_is_described_confirms_every_fact(bench: Bench) -> None:
    bench.charger.site.force(MODE3, [(f"{MODE3}.PREDUCTION", 20.0)], 0.0)
    report = bench.run()

    assert set(bench.outcomes.values()) == {"confirmed"}, bench.outcomes
    assert {finding.section for finding in report.findings} == {"3.4", "9", "9.2", "12"}
    assert (report.is_restored, report.ended_by, bench.reduction, bench.pending) == (True, "", 20.0, 0)
    assert bench.live.state in (State.STOPPING, State.WAITING_FOR_DISCONNECTION)
    assert sum(request.method == "PUT" for request in bench.charger.requests) < 10


def test_a_session_that_was_there_before_goes_on_afterwards(bench: Bench) -> None:
    bench.live.authorise()
    while bench.live.state is not State.CHARGING:
        sleep(0.01)
    bench.run()

    assert (bench.live.state, bench.reduction) == (State.CHARGING, 0.0)
    assert "REMOTE_START starts a session" not in bench.outcomes


def test_what_the_person_sees_contradicts_what_the_charger_says(bench: Bench) -> None:
    bench.run(lambda question: False)

    assert bench.outcomes[RESUMES] == "contradicted"
    assert bench.outcomes[PAUSES] == "confirmed"
    assert "the vehicle shows that it does not charge" in str(bench.report)


def test_a_current_that_never_exceeds_the_limit_shows_nothing(bench: Bench) -> None:
    bench.live.unplug()
    bench.live.plug_in(need_wh=1_000_000.0, most_amperes=8.0)
    bench.run()

    (limits,) = [outcome for fact, outcome in bench.outcomes.items() if fact.startswith("PREDUCTION")]
    assert limits == "not shown"


def test_a_charger_that_begins_to_ignore_writes_contradicts_them(bench: Bench) -> None:
    def ignore(question: str) -> bool | None:
        if RESUMES not in bench.outcomes and PAUSES in bench.outcomes:
            bench.charger.faults = (Fault("ignore-writes"),)
        return None

    report = bench.run(ignore)

    assert bench.outcomes[PAUSES] == "confirmed"
    assert bench.outcomes["REMOTE_STOP ends the session"] == "contradicted"
    assert (report.is_restored, bench.pending) == (False, 1)


def test_an_interruption_restores_everything(bench: Bench) -> None:
    def interrupt(question: str) -> bool | None:
        if bench.reduction == 100.0:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        bench.run(interrupt)

    assert (bench.report.ended_by, bench.report.is_restored) == ("interrupted", True)
    assert (bench.reduction, bench.pending) == (0.0, 0)
    assert bench.live.state in (State.STOPPING, State.WAITING_FOR_DISCONNECTION)


def test_what_cannot_be_restored_is_kept_for_the_next_command(bench: Bench) -> None:
    def break_down(question: str) -> bool | None:
        if bench.reduction == 100.0:
            bench.charger.faults = (Fault("status-403", "forceVariables"),)
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        bench.run(break_down)

    assert (bench.report.is_restored, bench.reduction, bench.pending) == (False, 100.0, 1)


def test_the_report_names_nothing_that_is_personal(bench: Bench) -> None:
    text = str(bench.run())

    assert "CirCarLife Scada 4.2.3" in text
    for personal in (bench.charger.url, "127.0.0.1", "EVSE", MODE3, str(bench.charger.port)):
        assert personal not in text


@pytest.mark.parametrize(
    ("name", "value"), [(f"{MODE3}.OUT_OF_SERVICE", 1.0), (f"{MODE3}.PREDUCTION", 100.0)], ids=["out", "0 A"]
)
def test_a_plug_that_cannot_charge_is_not_tried(bench: Bench, name: str, value: float) -> None:
    bench.charger.site.force(MODE3, [(name, value)], 0.0)

    with pytest.raises(WriteRejected, match="a trial needs a plug that can charge, nothing was written"):
        bench.run()
    assert not any(request.method == "PUT" for request in bench.charger.requests)
