"""What a probe costs each program on its way, from a charger to Prometheus, as a table.

    python tests/benchmarks/cluster.py [CHARGERS [SECONDS [INTERVAL]]]

Rendered chargers, one exporter, the balancer of the fleet and a real Prometheus, all on loopback.
Each charger is scraped every INTERVAL seconds; the first minute does not count: the exporter gets to know them.
"""

import os
import platform
import re
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import sleep

sys.path.insert(0, str(Path(__file__).parent.parent))

from helpers import prometheus
from helpers.balancer import balanced
from helpers.support import get

from benchmarks.processes import TICKS, exporter, farm

WARM_UP = 60.0


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def process_metric(url: str, name: str) -> float:
    """What Prometheus says of its own process."""
    found = re.search(rf"^process_{name} (\S+)$", get(f"{url}/metrics"), flags=re.MULTILINE)
    assert found is not None
    return float(found[1])


def packed(url: str) -> int:
    """The size of an answer, compressed."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request) as response:
        return len(response.read())


def measure(module: str, chargers: int, seconds: float, interval: int) -> Iterator[tuple[str, float, str]]:
    """Rows of what, how much, unit."""
    asked = "" if module == "both" else f"module: [{module}]"
    probe = "" if module == "both" else f"&module={module}"
    names = [f"{('idle', 'charging')[number % 2]}-{number}" for number in range(chargers)]
    with (
        tempfile.TemporaryDirectory() as folder,
        farm(0.0) as engines,
        exporter(engines, names) as exporting,
        balanced(Path(folder), [f"127.0.0.1:{exporting.port}"]) as (address, balancer),
        prometheus.running(
            Path(folder),
            f"""\
  - job_name: evse
    scrape_interval: {interval}s
    scrape_timeout: {interval}s
    metrics_path: /probe
    params: {{{asked}}}
    http_sd_configs: [{{url: "http://{address}/sd"}}]
    relabel_configs:
      - {{source_labels: [__address__], target_label: __param_target}}
      - {{source_labels: [__param_target], target_label: instance}}
      - {{target_label: __address__, replacement: "{address}"}}
""",
        ) as url,
    ):

        def spent() -> tuple[float, float, float, int]:
            wire = sum(count for what, count in engines.counts().items() if what.endswith("wire bytes"))
            cpu = exporting.cpu(), processor_seconds(balancer.pid), process_metric(url, "cpu_seconds_total")
            return *cpu, wire

        sleep(WARM_UP)
        before = spent()
        sleep(seconds)
        ours, balancing, storing, wire = (now - then for now, then in zip(spent(), before, strict=True))
        ups = f"[{seconds:.0f}s]"
        probes = prometheus.await_value(url, f"sum(count_over_time(up{ups}))")
        series = prometheus.await_value(url, "sum(scrape_samples_scraped)")
        yield "probes a second", probes / seconds, ""
        yield "probes that failed", probes - prometheus.await_value(url, f"sum(sum_over_time(up{ups}))"), ""
        yield "series of a charger", series / chargers, ""
        yield "exporter: processor time of a probe", ours / probes * 1e3, "ms"
        yield f"exporter: memory with {chargers} chargers", exporting.megabytes(), "MB"
        yield "balancer: processor time of a probe", balancing / probes * 1e3, "ms"
        yield "Prometheus: processor time of a probe", storing / probes * 1e3, "ms"
        yield "Prometheus: memory of a series", process_metric(url, "resident_memory_bytes") / series / 1e3, "kB"
        yield "on the wire between charger and exporter, a probe", wire / probes, "B"
        yield (
            "answer to Prometheus, compressed",
            packed(f"http://{address}/probe?target={names[1]}{probe}"),
            "B",
        )


def main() -> None:
    chargers = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    interval = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    found = {module: list(measure(module, chargers, seconds, interval)) for module in ("core", "both")}
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors\n")  # noqa: T201 - this is a command
    print("| what | core | core and variables |\n| --- | --- | --- |")  # noqa: T201 - likewise
    for (what, first, unit), (_, second, _) in zip(*found.values(), strict=True):
        print(f"| {what} | {first:.3g} {unit} | {second:.3g} {unit} |")  # noqa: T201 - likewise


if __name__ == "__main__":
    main()
