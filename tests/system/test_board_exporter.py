"""The row of the Fleet board about the exporter itself, against one that runs."""

from pathlib import Path
from time import monotonic, sleep, time

from helpers.board_asking import Asker
from helpers.board_queries import OWN, Query, defaults, queries, title
from helpers.brokers import Broker
from helpers.brokers import running as broker_running
from helpers.databases import Victoria, running
from helpers.prometheus import running as scraping
from helpers.support import Start

from ccl_exporter.simulator import Simulator


def test_the_exporter_and_its_queues_are_shown_as_they_run(start: Start, tmp_path: Path, state: Path) -> None:
    """With a database that takes everything, one that is away, a broker, and an absent charger."""
    broker, victoria = Broker(tmp_path / "broker"), Victoria(tmp_path / "victoria")
    away = Victoria(tmp_path / "away")
    with Simulator() as wallbox, Simulator("twin") as twin, broker_running(broker), running(victoria):
        config = tmp_path / "ccl.yaml"
        config.write_text(
            f"chargers:\n  garage: {{url: '{wallbox.url}', labels: {{site: home}}}}\n"
            f"  double: {{url: '{twin.url}', labels: {{site: north}}}}\n"
            f"  absent: {{url: '{away.url}', labels: {{site: north}}, timeout: 500ms}}\n"
            "influxdb:\n"
            f"  - {{url: '{victoria.url}', version: 2, org: home, bucket: evse, "
            "token: t, name: here, interval: 1s}\n"
            f"  - {{url: '{away.url}', version: 1, database: evse, name: away, interval: 1s}}\n"
            f"mqtt: {{url: 'mqtt://127.0.0.1:{broker.port}', interval: 1s}}\n"
            "tariff: {timezone: UTC, currency: GBP, price: 0.3}\n"
        )
        process = start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
        address = process.line(r"http://(127\.0\.0\.1:\d+)")[1]
        jobs = f"""\
- job_name: exporter
  static_configs: [{{targets: ["{address}"]}}]
- job_name: evse
  metrics_path: /probe
  http_sd_configs: [{{url: "http://{address}/sd"}}]
  relabel_configs:
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{target_label: __address__, replacement: "{address}"}}
"""
        with scraping(tmp_path, jobs) as url:
            missing = _await_answers(url)

    assert not missing


def _await_answers(url: str) -> set[str]:
    """Ask until every query of the exporter's row has an answer, and for a while at most; those that have none."""
    began = monotonic()
    mine = [query for query in queries("fleet.json") if title(query) in OWN]
    missing = {query.place: query for query in mine}
    while missing and monotonic() - began < 120:
        sleep(1)
        asker = Asker(url, defaults("fleet.json"), time(), range=300.0, interval=1.0)
        missing = {place: query for place, query in missing.items() if not _answered(asker, query)}
    asker = Asker(url, defaults("fleet.json"), time(), range=300.0, interval=1.0)
    for query in queries("fleet.json"):
        asker.ask(query)  # raises where it is not understood
    return set(missing)


def _answered(asker: Asker, query: Query) -> bool:
    try:
        return bool(asker.ask(query))
    except OSError:
        return False  # not ready yet
