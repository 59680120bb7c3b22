"""`set --force` of a current: never above what the plug is known to stand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import WriteRejected
from ccl_exporter.simulator import Fault, Simulator

CAP, RATED, REDUCTION = "EVSE.PLUG.CURRENT_REDUCTION", "Plug - Mode 3.INTENSITY", "Plug - Mode 3.PREDUCTION"
FORCED = WriteOptions(force=True, dry_run=True)


@pytest.fixture
def writer(wallbox: Simulator, tmp_path: Path) -> Iterator[Writer]:
    control = WritableTransport(wallbox.url)
    yield Writer(control, ControlState(tmp_path, wallbox.url), 15.0, "test")
    control.close()


@pytest.mark.parametrize(
    ("rated", "name", "value", "says"),
    [
        (32.0, CAP, 40.0, r"40 is more than EVSE\.PLUG is rated for: 32 A"),
        (16.0, CAP, 20.0, r"20 is more than EVSE\.PLUG is rated for: 16 A"),
        (16.0, RATED, 40.0, r"40 is more than EVSE\.PLUG is rated for: 32 A"),
        (32.0, REDUCTION, -25.0, r"-25 is out of the range"),
    ],
)
def test_more_than_the_plug_stands_is_refused(
    wallbox: Simulator, writer: Writer, rated: float, name: str, value: float, says: str
) -> None:
    wallbox.site.force("Plug - Mode 3", [(RATED, rated)], 0.0)

    with pytest.raises(WriteRejected, match=says):
        writer.set({name: value}, FORCED)


@pytest.mark.parametrize(("name", "value"), [(CAP, 16.0), (RATED, 32.0)])
def test_up_to_that_it_is_written(wallbox: Simulator, writer: Writer, name: str, value: float) -> None:
    wallbox.site.force("Plug - Mode 3", [(RATED, 20.0)], 0.0)

    assert writer.set({name: value}, FORCED).outcome == "planned"


def test_the_rated_current_itself_is_not_raised_where_the_socket_does_not_say_more(
    wallbox: Simulator, writer: Writer
) -> None:
    wallbox.faults = (Fault("status-404", "plugInfo"),)
    wallbox.site.force("Plug - Mode 3", [(RATED, 16.0)], 0.0)

    with pytest.raises(WriteRejected, match=r"32 is more than EVSE\.PLUG is rated for: 16 A"):
        writer.set({RATED: 32.0}, FORCED)


def test_an_unknown_maximum_can_be_forced(wallbox: Simulator, writer: Writer) -> None:
    wallbox.faults = (Fault("status-404", "plugInfo"),)
    wallbox.site.set_value(RATED, None)

    assert writer.set({CAP: 40.0}, FORCED).outcome == "planned"
