"""A real Prometheus scrapes a real exporter of a simulated charger, and its answers are right."""

import json
import subprocess
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

from support import Start, get, server

SPEED = 10
WINDOW = "30s"


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A Prometheus on loopback that scrapes `target` every second; yields its URL."""
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: evse, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    process = subprocess.Popen(
        [
            server("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--log.format=json",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            said = json.loads(line)
            if said.get("msg") == "Listening on":
                yield f"http://{said['address']}"
                break
        else:
            raise AssertionError("Prometheus did not start")
    finally:
        process.terminate()
        process.communicate()


def query(url: str, expression: str) -> float | None:
    """The one value of an instant query; None while there is none."""
    try:
        answer = json.loads(get(f"{url}/api/v1/query?query={quote(expression)}"))
    except urllib.error.HTTPError:
        return None  # not ready yet
    results = answer["data"]["result"]
    assert len(results) <= 1, results
    return float(results[0]["value"][1]) if results else None


def await_value(url: str, expression: str) -> float:
    """Ask until there is an answer, as Prometheus has no event to wait for."""
    began = monotonic()
    while (value := query(url, expression)) is None:
        assert monotonic() - began < 120, f"no answer to {expression}"
        sleep(0.25)
    return value


def test_prometheus_sees_the_energy_grow_as_fast_as_the_power_says(start: Start, tmp_path: Path) -> None:
    simulate = start("simulate", "--web.listen-address", "127.0.0.1:0", "--speed", str(SPEED))
    charger = simulate.line(r"http://127\.0\.0\.1:\d+")[0]
    serve = start("serve", charger, "--web.listen-address", "127.0.0.1:0")
    target = serve.line(r"127\.0\.0\.1:\d+(?=/metrics)")[0]
    with prometheus(tmp_path, target) as url:
        steady = f"min_over_time(ccl_plug_power_watts[{WINDOW}]) > 6000"
        await_value(url, f"{steady} and on(instance) count_over_time(ccl_up[{WINDOW}]) >= 28")
        energy = await_value(url, "ccl_plug_energy_joules_total")
        rate = await_value(url, f"rate(ccl_plug_energy_joules_total[{WINDOW}])")
        watts = await_value(url, f"avg_over_time(ccl_plug_power_watts[{WINDOW}])")
        ups = await_value(url, f"min_over_time(up[{WINDOW}])")

    assert energy > 3_600_000
    assert ups == 1
    # The meter counts in tens of watt-hours, so even a steady charge is off by some per cent.
    assert abs(rate / SPEED / watts - 1) < 0.1
