"""Registers that lie for a moment, seen by a real Prometheus: nothing falls, nothing is gained."""

from pathlib import Path
from time import time

import pytest
from helpers.prometheus import await_value, query, running
from helpers.support import Start, scrape

from ccl_exporter.simulator import Fault, Simulator

REGISTERS = ("EVSE.PLUG.AE", "Plug - Meter.AE")
TRUE = 1234.56

GLITCHES = {
    "zero": 0.0,
    "spike": 9_999_999.0,
    "some more than the plug can deliver": TRUE + 50,
    "an old value": TRUE - 7,
    "half": TRUE / 2,
    "nothing": None,
    "negative": -1.0,
}


def test_no_glitch_reaches_the_bill(start: Start, tmp_path: Path) -> None:
    with Simulator(autopilot=False) as simulator:
        serve = start("serve", simulator.url, "--web.listen-address", "127.0.0.1:0")
        target = serve.line(r"127\.0\.0\.1:\d+(?=/metrics)")[0]
        url = f"http://{target}/metrics"
        with running(
            tmp_path, f"  - {{job_name: evse, static_configs: [{{targets: ['{target}']}}]}}\n"
        ) as prometheus:
            await_value(prometheus, "count_over_time(ccl_plug_energy_joules_total[10s]) >= 3")
            for value in GLITCHES.values():
                for name in REGISTERS:
                    simulator.site.set_value(name, value)
                shown = scrape(url)
                assert shown.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") is None
                for name in REGISTERS:
                    simulator.site.clear_value(name)
                assert scrape(url).get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") == pytest.approx(
                    TRUE * 3.6e6
                )
            simulator.faults = (Fault.parse("zeros"),)
            scrape(url)
            simulator.faults = ()
            await_value(prometheus, f"ccl_scrape_timestamp_seconds > {time()}")
            for register in ("ccl_plug_energy_joules_total", 'ccl_variable_joules_total{variable="AE"}'):
                assert query(prometheus, f"resets({register}[5m])") == 0
                assert query(prometheus, f"increase({register}[5m])") == 0
            rejected = query(prometheus, "sum(max_over_time(ccl_rejected_readings_total[5m]))")

    assert rejected is not None
    assert rejected >= 2 * 5
