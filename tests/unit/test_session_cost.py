"""What sessions and days cost by the tariff at the time when their energy flowed."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest
from helpers.charging import PLUG, Station

from ccl_exporter.sessions import report
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.sessions.store import read
from ccl_exporter.tariff import Tariff, window, zone_of

KWH = 3.6e6
EVENING = datetime.fromisoformat("2026-11-24T22:30Z").timestamp()


def night_tariff(dear: float = 0.3) -> Tariff:
    """10 cents from 00:30 to 04:30 in London, else 30."""
    zone = zone_of("Europe/London")
    assert zone is not None
    return Tariff(zone, "GBP", dear, ((window("00:30-04:30", "Europe/London"), 0.1),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "charges.db"


def recorder(path: Path, tariff: Tariff | None) -> SessionRecorder:
    found = SessionRecorder(path)
    found.tariff = tariff
    return found


def flow(station: Station, recorder: SessionRecorder, watts: float, hours: float) -> None:
    """Energy that flows, read every five minutes."""
    for _ in range(round(hours * 12)):
        station.flow(watts, 300)
        recorder.note("garage", station.read())


def days_of(log: SessionRecorder) -> Mapping[str, float | None]:
    """What the days of the plug cost."""
    found = log.costs("garage", "2026-11-01")
    assert found is not None
    return found.days[PLUG]


def costs(path: Path) -> list[float | None]:
    return [session.cost for _, session in read(path).charges]


def through_the_night(path: Path, tariff: Tariff | None, kills: bool = False) -> Iterator[SessionRecorder]:
    """A session of 4 kW, with a pause from midnight to one o'clock; the recorder at its end.

    With `kills` the exporter is started anew meanwhile.
    """
    station, log = Station(at=EVENING), recorder(path, tariff)
    log.note("garage", station.read())
    flow(station, log, 0, 1)
    station.begin()
    log.note("garage", station.read())
    for watts, hours in ((4000, 0.5), (0, 1), (4000, 1)):
        flow(station, log, watts, hours)
        if kills:
            log.close()
            log = recorder(path, tariff)
    station.end()
    log.note("garage", station.read())
    log.close()
    yield log


@pytest.mark.parametrize("kills", [False, True])
def test_a_session_costs_what_its_energy_cost_when_it_flowed_whatever_it_did_between(
    path: Path, kills: bool
) -> None:
    # 23:30 to 00:00 is dear, 00:00 to 01:00 a pause, 01:00 to 02:00 cheap.
    for _ in through_the_night(path, night_tariff(), kills):
        pass
    ((_, session),) = read(path).charges

    assert session.joules == pytest.approx(6 * KWH)
    assert session.cost == pytest.approx(2 * 0.3 + 4 * 0.1)
    assert session.currency == "GBP"


def test_without_a_tariff_there_is_no_cost(path: Path) -> None:
    for _ in through_the_night(path, None):
        pass

    assert costs(path) == [None]
    assert ",,\r\n" in report.as_csv(read(path))
    assert '"cost": null,\n      "currency": null' in report.as_json(read(path))
    assert "COST" not in report.session_table(read(path), None)


def test_energy_of_a_time_in_which_prices_differ_and_nothing_was_read_has_no_cost(path: Path) -> None:
    station, log = Station(at=EVENING), recorder(path, night_tariff())
    log.note("garage", station.read())
    station.begin()
    station.flow(4000, 4 * 3600)
    station.end()
    log.note("garage", station.read())
    station.begin()
    # 02:30 to 04:00 is all cheap.
    station.flow(4000, 1.5 * 3600)
    station.end()
    log.note("garage", station.read())
    log.close()

    assert costs(path) == [None, pytest.approx(6 * 0.1)]
    says = report.session_table(read(path), None)
    assert "COST" in says
    assert says.endswith(", 22.000 kWh, 0.60 GBP without 1 session whose cost is not known")


def test_a_session_that_ran_before_there_was_a_tariff_has_no_cost_and_the_next_one_has(path: Path) -> None:
    station, log = Station(at=EVENING), recorder(path, None)
    log.note("garage", station.read())
    station.begin()
    flow(station, log, 4000, 0.5)
    log.tariff = night_tariff()
    flow(station, log, 4000, 0.5)
    station.end()
    log.note("garage", station.read())
    station.begin()
    flow(station, log, 4000, 0.5)
    station.end()
    log.note("garage", station.read())
    log.close()

    assert costs(path) == [None, pytest.approx(2 * 0.3)]


def test_a_price_below_zero_is_a_cost_too(path: Path) -> None:
    for _ in through_the_night(path, night_tariff(dear=-0.2)):
        pass

    assert costs(path) == [pytest.approx(2 * -0.2 + 4 * 0.1)]


def test_days_have_the_cost_of_their_energy_also_after_a_restart(path: Path) -> None:
    for log in through_the_night(path, night_tariff(), kills=True):
        days = log.energy_by_day("garage", "2026-11-01")[PLUG]
        found = days_of(log)
    again = recorder(path, night_tariff())

    assert set(found) == set(days)
    assert sum(cost for cost in found.values() if cost is not None) == pytest.approx(2 * 0.3 + 4 * 0.1)
    assert days_of(again) == pytest.approx(found)
    again.close()


def test_a_day_of_which_a_part_has_no_price_has_no_cost(path: Path) -> None:
    station, log = Station(at=EVENING), recorder(path, None)
    log.note("garage", station.read())
    flow(station, log, 4000, 0.25)
    log.tariff = night_tariff()
    flow(station, log, 4000, 0.25)

    assert [*days_of(log).values()] == [None]
    log.close()


def test_the_session_that_runs_has_a_cost_so_far(path: Path) -> None:
    station, log = Station(at=EVENING), recorder(path, night_tariff())
    log.note("garage", station.read())
    station.begin()
    flow(station, log, 4000, 0.5)
    found = log.costs("garage", "2026-11-01")
    assert found is not None
    assert found.currency == "GBP"
    assert found.running == pytest.approx({PLUG: 2 * 0.3})
    log.tariff = None

    assert log.costs("garage", "2026-11-01") is None
    log.close()
