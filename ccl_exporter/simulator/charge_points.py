"""The documents under /services/chargePointsInterface: watt-hours and Unix seconds (protocol 2.2, 9)."""

from __future__ import annotations

from collections.abc import Callable

from ccl_exporter.simulator.charger_parts import locked
from ccl_exporter.simulator.documents import flag
from ccl_exporter.simulator.simulated_charge import State
from ccl_exporter.simulator.simulated_variables import time_guid
from ccl_exporter.simulator.site import PlugPlace, Site
from ccl_exporter.simulator.site_view import SiteView
from ccl_exporter.simulator.xml import Element, leaf, node


def plug_info(view: SiteView, site: Site) -> Element:
    """plugInfo.xml: which meter and which controller belong to a plug."""

    def rest(place: PlugPlace) -> list[Element]:
        return [
            leaf("chargeMode", 3),
            leaf("connectorType", place.connector),
            leaf("supportedCurrent", 32),
            leaf("EVCommDevice", view.display(place.mode3)),
            leaf("hasCover", "F"),
            leaf("hasLock", "T"),
            leaf("meter", view.display(place.meter)),
        ]

    return _each_plug(view, site, "plugsInfo", "plugInfo", rest)


def plug_state(view: SiteView, site: Site) -> Element:
    """plugState.xml: state, error bits, vehicle and lock (codes in protocol 9.1)."""

    def rest(place: PlugPlace) -> list[Element]:
        plug = place.plug
        return [
            leaf("state", int(plug.state)),
            leaf("previousState", int(plug.previous)),
            leaf("stateDate", _seconds(view, plug.changed)),
            leaf("error", plug.error),
            leaf("vehicleConnected", flag(plug.vehicle is not None)),
            leaf("locked", flag(locked(plug))),
        ]

    return _each_plug(view, site, "plugsState", "plugState", rest)


def charge_info(view: SiteView, site: Site) -> Element:
    """chargeInfo.xml: the present charge, or the last one, which keeps its energy (protocol 12)."""

    def rest(place: PlugPlace) -> list[Element]:
        plug, charge = place.plug, place.plug.charge
        elapsed = plug.charge_seconds_at(view.now)
        return [
            leaf("chargeId", _charge_id(place)),
            leaf("state", int(plug.state)),
            leaf("user", charge.user),
            leaf("activeEnergy", f"{view.zeroed(plug.register_at(view.now)):.6f}"),
            leaf("partialActiveEnergy", f"{view.zeroed(plug.charge_energy_at(view.now)):.6f}"),
            leaf("requestDate", _seconds(view, charge.requested)),
            leaf("beginDate", _seconds(view, charge.began)),
            leaf("endDate", _seconds(view, charge.ended)),
            leaf("chargeTime", -1 if elapsed is None else int(elapsed)),
            leaf("stopped", int(charge.stopped)),
        ]

    return _each_plug(view, site, "chargesInfo", "chargeInfo", rest)


def charge_state(view: SiteView, site: Site) -> Element:
    """chargeState.xml: how many phases charge."""

    def rest(place: PlugPlace) -> list[Element]:
        phases = place.plug.phases if place.plug.state is State.CHARGING else 0
        return [
            leaf("chargeId", _charge_id(place)),
            leaf("state", int(place.plug.state)),
            leaf("chargingPhases", phases),
        ]

    return _each_plug(view, site, "chargesState", "chargeState", rest)


def _each_plug(
    view: SiteView, site: Site, root: str, item: str, rest: Callable[[PlugPlace], list[Element]]
) -> Element:
    plugs = (
        node(
            item,
            leaf("id", f"{site.guid(place.engine)}.{site.guid(place.plug.name)}"),
            leaf("name", view.display_plug(place)),
            leaf("number", place.plug.number),
            *rest(place),
        )
        for place in view.places
    )
    return node(root, *plugs)


def _charge_id(place: PlugPlace) -> str:
    return time_guid(place.plug.charge.requested, f"5EA{place.plug.number:05X}")


def _seconds(view: SiteView, unix: float | None) -> str:
    return "-1.000000" if unix is None else f"{view.clock(unix):.6f}"
