"""A real Prometheus scrapes a real exporter of a simulated charger, and its answers are right."""

from pathlib import Path

from helpers.prometheus import await_value, running
from helpers.support import Start

SPEED = 10
WINDOW = "30s"


def test_prometheus_sees_the_energy_grow_as_fast_as_the_power_says(start: Start, tmp_path: Path) -> None:
    simulate = start("simulate", "--web.listen-address", "127.0.0.1:0", "--speed", str(SPEED))
    charger = simulate.line(r"http://127\.0\.0\.1:\d+")[0]
    serve = start("serve", charger, "--web.listen-address", "127.0.0.1:0")
    target = serve.line(r"127\.0\.0\.1:\d+(?=/metrics)")[0]
    scraped = f"  - {{job_name: evse, static_configs: [{{targets: ['{target}']}}]}}\n"
    with running(tmp_path, scraped) as url:
        steady = f"min_over_time(ccl_plug_power_watts[{WINDOW}]) > 6000"
        await_value(url, f"{steady} and on(instance) count_over_time(ccl_up[{WINDOW}]) >= 28")
        energy = await_value(url, "ccl_plug_energy_joules_total")
        rate = await_value(url, f"rate(ccl_plug_energy_joules_total[{WINDOW}])")
        watts = await_value(url, f"avg_over_time(ccl_plug_power_watts[{WINDOW}])")
        ups = await_value(url, f"min_over_time(up[{WINDOW}])")

    assert energy > 3_600_000
    assert ups == 1
    # The meter counts in tens of watt-hours, and a scrape that comes late moves the window's ends.
    assert abs(rate / SPEED / watts - 1) < 0.15
