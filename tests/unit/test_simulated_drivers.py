"""Who charges at a simulated charger: the life of a home."""

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from helpers.support import Clock

from ccl_exporter.simulator import Simulator, State

DAYS = 40
START = 1_790_000_000.0


@pytest.fixture(params=["UTC", "Europe/London", "America/New_York"])
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


def hour(at: float) -> float:
    local = time.localtime(at)
    return local.tm_hour + local.tm_min / 60


@pytest.mark.usefixtures("zone")
class TestHome:
    def test_a_vehicle_comes_in_the_evening_charges_at_once_and_goes_in_the_morning(self) -> None:
        clock = Clock(START)
        simulator = Simulator(clock=clock, life="home")
        (plug,) = simulator.site.plugs
        first = clock.at
        arrivals, departures, energies, before = [], [], [], State.AVAILABLE
        while clock.at < first + DAYS * 86400:
            clock.at += 300
            state = plug.state
            if before is State.AVAILABLE and state is not State.AVAILABLE:
                arrivals.append(clock.at)
                assert state in (State.STARTING, State.CHARGING)
            if before is State.WAITING_FOR_DISCONNECTION and state is State.AVAILABLE:
                departures.append(hour(clock.at))
                energies.append(plug.charge_wh)
            before = state

        assert all(17.5 <= hour(at) < 21.2 for at in arrivals)
        assert all(6.5 <= at < 8.7 for at in departures)
        assert all(4900 <= energy <= 15_000 for energy in energies)
        assert max(energies) - min(energies) > 4000
        assert DAYS // 2 < len(arrivals) < DAYS, "on some days none comes"
        assert min(later - at for at, later in pairwise(arrivals)) > 12 * 3600

    def test_a_plug_that_is_out_of_service_charges_once_it_is_in_service(self) -> None:
        clock = Clock(START)
        simulator = Simulator(clock=clock, life="home")
        (plug,) = simulator.site.plugs
        place = simulator.site.model.places[0].plug

        def enable(enabled: bool) -> None:
            with simulator.site.acting() as now:
                place.limits.enabled = enabled
                place.limits_changed(now)

        enable(False)
        for _ in range(7 * 24):
            clock.at += 3600
            with simulator.site.present():
                pass
            if place.vehicle is not None:
                break
        assert place.vehicle is not None
        states = [plug.state]
        enable(True)
        clock.at += 60

        assert [*states, plug.state] == [State.DISABLED, State.CHARGING]


def test_the_same_seed_is_the_same_life_however_often_it_is_read() -> None:
    found = []
    for step in (60, 7000):
        clock = Clock(START)
        simulator = Simulator(clock=clock, life="home", seed=7)
        end = clock.at + 10 * 86400
        while clock.at < end:
            clock.at = min(clock.at + step, end)
            with simulator.site.present():
                pass
        found.append(simulator.site.plugs[0].energy_wh)

    assert found[0] == found[1]
