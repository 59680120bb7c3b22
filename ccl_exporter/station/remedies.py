"""Which command helps where a plug does not charge. Every view that names one takes it from here."""

from collections.abc import Mapping

from ccl_exporter.station.catalogue import NotCharging

REMEDIES: Mapping[NotCharging, str] = {
    NotCharging.DISABLED: "charge start",
    NotCharging.LIMIT_BELOW_MINIMUM: "charge limit 100%",
    NotCharging.WAITING_FOR_PERMISSION: "charge start",
    NotCharging.PAUSED: "charge start",
}
"""The command of `ccl-exporter` by the reason; a reason without an entry has no command that helps."""
