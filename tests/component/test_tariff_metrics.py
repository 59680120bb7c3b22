"""What the exporter shows of the configured tariff."""

from datetime import datetime
from pathlib import Path

import pytest
from helpers.support import OPENMETRICS
from helpers.support import Scrape as Exposition

from ccl_exporter.exporter.service import Options, Service
from ccl_exporter.exporter.web.app import Scrape
from ccl_exporter.settings import ListenAddress, Settings
from ccl_exporter.tariff import Tariff, window, zone_of

UTC_ZONE = zone_of("UTC")


@pytest.mark.parametrize("is_cheap", [True, False])
def test_the_price_of_now_is_on_the_own_page(tmp_path: Path, is_cheap: bool) -> None:
    assert UTC_ZONE is not None
    # Half a day around now, so that it does not matter how long the test takes.
    hour = datetime.now(UTC_ZONE).hour
    around = window(f"{(hour - 6) % 24:02}:00-{(hour + 6) % 24:02}:00", "UTC")
    tariff = Tariff(UTC_ZONE, "GBP", 0.3, ((around, 0.1 if is_cheap else 0.5),))
    service = Service(Settings({}, tariff=tariff), Options(ListenAddress("127.0.0.1", 0)), tmp_path)
    own = Exposition.of(service.metrics(Scrape(1.0, OPENMETRICS)).body.decode())

    assert own.get("ccl_tariff_price_per_kilowatt_hour", currency="GBP") == (0.1 if is_cheap else 0.5)
    assert own.get("ccl_tariff_cheap") == is_cheap


def test_without_a_tariff_there_is_no_price(tmp_path: Path) -> None:
    service = Service(Settings({}), Options(ListenAddress("127.0.0.1", 0)), tmp_path)
    own = Exposition.of(service.metrics(Scrape(1.0, OPENMETRICS)).body.decode())

    assert not [name for name in own.names() if name.startswith("ccl_tariff_")]
