"""What is begun again in the hours of a night, how often, and what never is."""

from dataclasses import replace
from typing import Any

import pytest
from helpers.plugs import plug

from ccl_exporter.control.night import RESTARTS, Night, has_had_its_night, next_step
from ccl_exporter.station.plug import Plug

OPENED = 10_000.0
BEGUN = Night(OPENED, is_begun=True)


def ended(stopped: str, state: str = "waiting_for_disconnection", **more: Any) -> Plug:
    seen = plug(state, requested=OPENED + 10, stopped=stopped, **more)
    return replace(seen, session=replace(seen.session, ended=OPENED + 600))


def step(seen: Plug, night: Night = BEGUN, now: float = OPENED + 7000, **more: Any) -> str:
    options = {"stops": (), "restart_remote": False, **more}
    return next_step(seen, night, options["stops"], options["restart_remote"], now)[0]


@pytest.mark.parametrize(
    ("stopped", "wanted"),
    [
        *((reason, "restart") for reason in ("error", "timer", "credits", "vehicle_communication")),
        *((reason, "over") for reason in ("user", "scheduler", "disconnect", "remote", "disabled", "none")),
        ("vehicle_over_current", "over"),
    ],
)
def test_only_what_neither_car_nor_driver_ended_is_begun_again(stopped: str, wanted: str) -> None:
    assert step(ended(stopped)) == wanted


def test_a_remote_stop_is_undone_only_where_that_is_asked_for_and_never_one_of_ours() -> None:
    assert step(ended("remote"), restart_remote=True) == "restart"
    assert step(ended("remote"), restart_remote=True, stops=(OPENED + 500,)) == "over"
    assert step(ended("error"), stops=(OPENED + 500,)) == "over"
    assert step(ended("error"), stops=(OPENED - 500,)) == "restart"


def test_a_car_that_has_its_energy_is_not_asked_again() -> None:
    assert step(ended("error", energy=3.7e6)) == "over"
    assert has_had_its_night(plug("charging"))
    assert not has_had_its_night(ended("error", energy=3.5e6))


def test_another_car_and_a_session_of_before_the_night_are_started_as_ever() -> None:
    assert step(ended("disconnect", "waiting_for_permission")) == "start"
    assert step(ended("error"), Night(OPENED)) == "start"
    assert step(plug("charging")) == "start"
    # A plug that was repaired waits for permission, and its session has failed in these hours.
    assert step(ended("error", "waiting_for_permission"), now=OPENED + 700) == "wait"


def test_pauses_grow_and_after_five_restarts_it_is_enough() -> None:
    night, now, pauses = BEGUN, OPENED + 600, []
    for _ in range(RESTARTS):
        begin = now
        while step(ended("timer"), night, now) == "wait":
            now += 60
        assert step(ended("timer"), night, now) == "restart"
        pauses.append(now - begin)
        night = replace(night, restarts=(*night.restarts, now))

    assert pauses == [300, 600, 1200, 2400, 4800]
    assert step(ended("timer"), night, now + 1e6) == "give_up"
