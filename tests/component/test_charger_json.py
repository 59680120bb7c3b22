"""A charger as JSON: what stands there, while it answers and while it does not, and who is asked for what."""

import http.client
import json
import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from helpers.misbehaving_servers import unresponsive_host
from helpers.support import PROJECT, Clock

from ccl_exporter.exporter.service import Options, Service
from ccl_exporter.exporter.web.app import App
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.mqtt.payload import documents
from ccl_exporter.settings import ChargerSettings, ListenAddress, Settings
from ccl_exporter.simulator import Fault, Simulator

NEIGHBOURS = PROJECT / "deploy" / "neighbours" / "README.md"


class Bench:
    """The application of an exporter that is asked without a network."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._app = App(service)

    def ask(self, path: str, query: str = "") -> tuple[str, str, bytes]:
        """Status, type and body of the answer to a GET."""
        started: list[Any] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "wsgi.url_scheme": "http"}
        body = b"".join(self._app(environ, lambda status, headers: started.extend((status, dict(headers)))))  # type: ignore[arg-type] # as cheroot calls it
        return started[0], started[1]["Content-Type"], body

    def document(self, query: str = "") -> Any:
        status, kind, body = self.ask("/charger/garage.json", query)
        assert (status, kind) == ("200 OK", "application/json")
        return json.loads(body)


@contextmanager
def bench(url: str, folder: Path, fail_on_down: bool = False, **more: Any) -> Iterator[Bench]:
    settings = Settings({"garage": ChargerSettings("garage", url, **more)})
    service = Service(settings, Options(ListenAddress("127.0.0.1", 0), fail_on_down=fail_on_down), folder)
    yield Bench(service)
    service.stop()


@pytest.fixture
def garage(wallbox: Simulator, tmp_path: Path) -> Iterator[Bench]:
    with bench(wallbox.url, tmp_path) as made:
        yield made


def test_it_has_what_the_messages_have_by_the_names_of_the_engine(
    wallbox: Simulator, garage: Bench, clock: Clock
) -> None:
    wallbox.site.plugs[0].plug_in()
    wallbox.site.plugs[0].authorise()
    clock.at += 60.0
    found = garage.document("variables=true")
    charger = garage.service._registry.named("garage")
    assert charger is not None
    assert charger.latest is not None
    messages = documents(samples(charger.latest))

    assert list(found) == [
        *("charger", "title", "up", "read_timestamp_seconds", "station", "plugs", "devices"),
    ]
    assert (found["charger"], found["title"], found["up"]) == ("garage", "garage", True)
    assert found["read_timestamp_seconds"] == charger.latest.taken
    assert found["station"] == messages["station"]
    assert found["plugs"] == {"EVSE.PLUG": messages["plug/EVSE.PLUG"]}
    assert found["devices"] == {
        place.removeprefix("device/"): document
        for place, document in messages.items()
        if place.startswith("device/")
    }
    assert found["plugs"]["EVSE.PLUG"]["state"] == "charging"
    assert found["plugs"]["EVSE.PLUG"]["vehicle_connected"] is True
    assert found["devices"]["Plug - Meter"]["VI_volts"] > 200


def test_the_example_of_the_page_is_one(wallbox: Simulator, garage: Bench, clock: Clock) -> None:
    (text,) = re.findall(r"```json\n(.*?)```", NEIGHBOURS.read_text(encoding="utf-8"), flags=re.DOTALL)
    wallbox.site.plugs[0].plug_in()
    wallbox.site.plugs[0].authorise()
    clock.at += 60.0

    def keys(document: object) -> set[str]:
        """The keys of a document and of those in it, by their path."""
        if not isinstance(document, dict):
            return set()
        inner = {f"{key}/{name}" for key, value in document.items() for name in keys(value)}
        return inner | document.keys()

    assert keys(json.loads(text)) <= keys(garage.document())


@pytest.mark.parametrize("query", ["", "variables=false", "variables=true&variables=true", "variables", "%FF"])
def test_devices_are_there_only_if_they_are_asked_for(garage: Bench, query: str) -> None:
    assert "devices" not in garage.document(query)


def test_a_title_is_the_configured_one(wallbox: Simulator, tmp_path: Path) -> None:
    with bench(wallbox.url, tmp_path, title="Wallbox") as made:
        assert made.document()["title"] == "Wallbox"


def test_what_is_not_known_has_no_key(wallbox: Simulator, garage: Bench) -> None:
    wallbox.faults = (Fault("device-error", arg="EVSE"), Fault("status-500", "plugState"))
    plug = garage.document()["plugs"]["EVSE.PLUG"]

    assert "vehicle_connected" not in plug
    assert None not in plug.values()


def test_of_a_charger_that_is_down_nothing_is_left_but_the_time_of_the_last_reading(
    wallbox: Simulator, tmp_path: Path
) -> None:
    with bench(wallbox.url, tmp_path) as made:
        before = made.document()
        wallbox.stop()
        down = made.document("variables=true")  # more than the last reading has, which is shared for a moment

    empty: dict[str, object] = {"up": False, "station": {}, "plugs": {}, "devices": {}}
    assert down == {**before, **empty}
    assert before["read_timestamp_seconds"] > 0
    with bench(wallbox.url, tmp_path) as made:
        assert made.document()["read_timestamp_seconds"] is None


def test_a_charger_that_never_answers_is_waited_for_as_long_as_eight_seconds(tmp_path: Path) -> None:
    with unresponsive_host() as host, bench(f"http://{host}", tmp_path, timeout=0.1) as made:
        assert made.document()["up"] is False
    with bench("http://127.0.0.1:1", tmp_path) as made:
        made.document()
        charger = made.service._registry.named("garage")
        assert charger is not None
        assert charger.latest is not None
        assert charger.latest.timeout == 8.0


def test_a_name_may_be_percent_encoded_and_a_login_counts_as_for_metrics(
    wallbox: Simulator, tmp_path: Path
) -> None:
    web = tmp_path / "web.yaml"
    web.write_text(f"basic_auth_users: {{monitor: {bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}}}")
    settings = Settings({"garage": ChargerSettings("garage", wallbox.url)})
    service = Service(settings, Options(ListenAddress("127.0.0.1", 0), web), tmp_path)
    port = int(service.bind().rpartition(":")[2])
    serving = threading.Thread(target=service.run)
    serving.start()

    def status(path: str, login: str = "monitor:secret") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", path, headers={"Authorization": f"Basic {b64encode(login.encode()).decode()}"})
        found = connection.getresponse().status
        connection.close()
        return found

    try:
        assert status("/charger/ga%72age%2Ejson") == 200
        others = ("..%2Fgarage", "%2e%2e/charger/garage", "garage%2F", "%FF%00")
        assert {status(f"/charger/{other}.json") for other in others} == {404}
        assert status("/charger/garage.json", "monitor:wrong") == status("/metrics", "monitor:wrong") == 401
    finally:
        service.stop()
        serving.join()


def test_requests_that_come_together_are_one_reading(wallbox: Simulator, garage: Bench) -> None:
    garage.document()
    asked = len(wallbox.requests)
    garage.document()

    assert len(wallbox.requests) == asked


def test_a_failure_is_one_of_the_scrape_where_that_is_wanted(tmp_path: Path) -> None:
    with bench("http://127.0.0.1:1", tmp_path, fail_on_down=True) as made:
        status, _, body = made.ask("/charger/garage.json")

    assert (status, json.loads(body)["up"]) == ("503 Service Unavailable", False)


@pytest.mark.parametrize(
    "path",
    [
        *("/charger/.json", "/charger/attic.json", "/charger/GARAGE.json", "/charger/garage.JSON"),
        *("/charger/../garage.json", "/charger/garage/../garage.json", "/charger/..%2Fgarage.json"),
        *("/charger/garage.json/", "/charger/garage.json.json", "/charger//garage.json", "/charger/\xff.json"),
        *("/charger/127.0.0.1.json", "/charger/garage%2Ejson", "/charger/ga\x00rage.json"),
    ],
)
def test_any_other_name_is_not_found_and_reads_nothing(wallbox: Simulator, garage: Bench, path: str) -> None:
    assert garage.ask(path)[0] == "404 Not Found"
    assert wallbox.requests == []
