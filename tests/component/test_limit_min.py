"""`charge limit min` at a plug that was assigned less than it is rated for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ccl_exporter.control.plug_commands import PlugCommands
from ccl_exporter.control.put import WritableTransport
from ccl_exporter.control.state import ControlState
from ccl_exporter.control.write import WriteOptions, Writer
from ccl_exporter.errors import WriteRejected
from ccl_exporter.simulator import Simulator


@pytest.fixture
def plug(wallbox: Simulator, tmp_path: Path) -> Iterator[PlugCommands]:
    control = WritableTransport(wallbox.url)
    yield PlugCommands(Writer(control, ControlState(tmp_path, wallbox.url), 15.0, "test"), None, 15.0)
    control.close()


@pytest.mark.parametrize(("cap", "says"), [(6.0, "may take 6.00 A"), (32.0, "may take 6.08 A")])
def test_it_is_the_lowest_current_that_a_vehicle_can_use(
    wallbox: Simulator, plug: PlugCommands, cap: float, says: str
) -> None:
    wallbox.site.force("EVSE", [("EVSE.PLUG.CURRENT_REDUCTION", cap)], 0.0)
    planned = plug.limit("min", WriteOptions(dry_run=True))

    assert (planned.outcome, says in planned.says) == ("planned", True), planned.says


def test_it_is_refused_where_the_cap_is_below_it(wallbox: Simulator, plug: PlugCommands) -> None:
    wallbox.site.force("EVSE", [("EVSE.PLUG.CURRENT_REDUCTION", 5.0)], 0.0)

    with pytest.raises(WriteRejected, match=r"CURRENT_REDUCTION caps EVSE\.PLUG at 5\.00 A, and a car needs 6 A"):
        plug.limit("min", WriteOptions())
    assert [request.method for request in wallbox.requests if request.method == "PUT"] == []
