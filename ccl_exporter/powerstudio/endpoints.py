"""The documents that an engine serves: the one place where their paths stand (protocol 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote


@lru_cache(10_000)  # each scrape asks for the same ones, and most chargers have the same
def quoted(name: str, charset: str = "utf-8") -> str:
    """A device or variable name for a request target: blanks as %20, never `+` (protocol 6).

    Characters that `charset` does not have are encoded in UTF-8, and bytes of a command line are sent as they are.
    """
    try:
        return quote(name, safe="", encoding=charset, errors="strict")
    except UnicodeEncodeError:
        return quote(name, safe="", errors="surrogateescape")


MAX_TARGET = 2000
"""Longest request target; the manual's 4,000 characters may count more than the target (protocol 11 #5)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A document that takes a parameter, which some engines let be repeated."""

    path: str
    parameter: str

    def target(self, names: Sequence[str], separator: str = "&", charset: str = "utf-8") -> str:
        """The request target for `names`, without the leading slash."""
        return f"{self.path}?" + separator.join(f"{self.parameter}={quoted(name, charset)}" for name in names)

    def head(self, names: Sequence[str], most: int) -> list[str]:
        """As many of the first `names` as one request can hold, at least one, at most `most`."""
        length = len(self.path)
        for count, name in enumerate(names):
            length += len(self.parameter) + 2 + len(quoted(name))
            if count and (count >= most or length >= MAX_TARGET):
                return list(names[:count])
        return list(names)


USER_DEVICES = "services/user/devices.xml"
CHARGE_POINTS_DEVICES = "services/chargePointsInterface/devices.xml"
USER_DEVICE_INFO = Endpoint("services/user/deviceInfo.xml", "id")
CHARGE_POINTS_DEVICE_INFO = Endpoint("services/chargePointsInterface/deviceInfo.xml", "id")
PLUG_INFO = "services/chargePointsInterface/plugInfo.xml"
PLUG_STATE = "services/chargePointsInterface/plugState.xml"
CHARGE_INFO = "services/chargePointsInterface/chargeInfo.xml"
CHARGE_STATE = "services/chargePointsInterface/chargeState.xml"
STATUS = "services/system/status.xml"
INFORMATION = "services/system/information.xml"
VAR_INFO = "services/user/varInfo.xml"
VAR_INFO_BY_DEVICE = Endpoint(VAR_INFO, "id")
VAR_INFO_BY_NAME = Endpoint(VAR_INFO, "var")
VALUES = "services/user/values.xml"
VALUES_BY_DEVICE = Endpoint(VALUES, "id")
VALUES_BY_NAME = Endpoint(VALUES, "var")
DEVICE_STATE = Endpoint("services/devices/deviceState.xml", "id")

DEVICES = (USER_DEVICES, CHARGE_POINTS_DEVICES)
DEVICE_INFO = (CHARGE_POINTS_DEVICE_INFO, USER_DEVICE_INFO)
"""Two shapes of the same; that of chargers first, as a wallbox may have no other (protocol 2.2)."""
