"""What the configuration file says of the price of electricity (`tariff`)."""

import re
from collections.abc import Mapping
from datetime import time
from itertools import combinations
from typing import Annotated, Any

from pydantic import Field, model_validator

from ccl_exporter.config import fields
from ccl_exporter.tariff import Tariff, TimeWindow, zone_of

_CURRENCY = re.compile(r"[A-Z]{3}")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")

Price = Annotated[float, Field(allow_inf_nan=False)]
Zone = Annotated[str, fields.checked(zone_of, "a time zone")]
Currency = Annotated[str, fields.checked(_CURRENCY.fullmatch, "a currency; it looks like GBP or EUR")]
Clock = Annotated[str, fields.checked(_CLOCK.fullmatch, 'a time of the day; it looks like "00:30"')]


class WindowModel(fields.ConfigModel):
    """Hours of the day with a price of their own."""

    begin: Clock = Field(alias="from")
    end: Clock = Field(alias="to")
    price: Price

    @model_validator(mode="after")
    def _takes_time(self) -> "WindowModel":
        if self.begin == self.end:
            raise ValueError("ends when it begins; a price that always holds is the `price` of the tariff")
        return self


class TariffModel(fields.ConfigModel):
    """The tariff."""

    timezone: Zone
    currency: Currency
    price: Price
    windows: list[WindowModel] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_price(self) -> "TariffModel":
        windows = [hours for hours, _ in self.settings().windows]
        for one, other in combinations(windows, 2):
            if one.contains(other.begin) or other.contains(one.begin):
                raise ValueError(f"two windows overlap: {one} and {other}")
        return self

    def settings(self) -> Tariff:
        zone = zone_of(self.timezone)
        assert zone is not None  # noqa: S101 - it has a name
        windows = [
            (TimeWindow(time.fromisoformat(each.begin), time.fromisoformat(each.end), zone), each.price)
            for each in self.windows
        ]
        return Tariff(zone, self.currency, self.price, tuple(windows))


def masked_tariff(tariff: Tariff) -> Mapping[str, Any]:
    """The tariff as it stands in a file."""
    windows = [
        {"from": f"{hours.begin:%H:%M}", "to": f"{hours.end:%H:%M}", "price": price}
        for hours, price in tariff.windows
    ]
    shown = {"timezone": str(tariff.zone), "currency": tariff.currency, "price": tariff.price}
    return {**shown, "windows": windows} if windows else shown
