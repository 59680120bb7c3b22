"""Every metric family that a charger can show: the contract with the outside, in one list.

A name is the quantity in base units; nothing here is made from what a device says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ccl_exporter.station.catalogue import NotCharging, catalogue

FamilyKind = Literal["gauge", "counter", "stateset", "info"]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family: its full name as Prometheus shows it, its type, its help, its label names.

    For a stateset `states` holds every word; its samples get one more label, named as the family.
    """

    name: str
    kind: FamilyKind
    help: str
    labels: tuple[str, ...] = ()
    states: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value of a family, on its way to any sink.

    `labels` are in the order of the family's label names.
    For a stateset `value` is the code as the engine sent it, `active` the words that hold.
    """

    family: Family
    labels: tuple[str, ...]
    value: float
    active: tuple[str, ...] = ()


_VARIABLE_LABELS = ("device", "variable")
_PLUG = ("plug",)
_PLUG_PHASE = ("plug", "phase")


def _words(table: str) -> tuple[str, ...]:
    """The words of a code table, `unknown` always among them and last."""
    words = [word for word in catalogue().codes[table].values() if word != "unknown"]
    return (*words, "unknown")


def _states() -> tuple[str, ...]:
    """The words of the states of a plug, `unknown` last."""
    return (*(state.word for state in catalogue().plug_states.values() if state.word != "unknown"), "unknown")


def _statuses() -> tuple[str, ...]:
    """The words of OCPI that states of a plug have, `unknown` last."""
    found = {state.status for state in catalogue().plug_states.values()} - {"unknown"}
    return (*sorted(found), "unknown")


def _bits(table: str) -> tuple[str, ...]:
    return (*catalogue().bits[table], "unknown")


# The reading itself

UP = Family("ccl_up", "gauge", "Whether any document with values came from the charger in time.")
SCRAPE_DURATION = Family("ccl_scrape_duration_seconds", "gauge", "How long reading the charger took.")
SCRAPE_TIMEOUT = Family("ccl_scrape_timeout_seconds", "gauge", "How long reading the charger was allowed to take.")
SCRAPE_REQUESTS = Family("ccl_scrape_requests", "gauge", "Requests sent to the charger for this reading.")
DOCUMENT_SUCCESS = Family(
    "ccl_scrape_document_success",
    "gauge",
    "Whether this kind of document was complete and well when it was last due.",
    ("document",),
)
DOCUMENT_DURATION = Family(
    "ccl_scrape_document_duration_seconds",
    "gauge",
    "How long this kind of document took when it was last asked for.",
    ("document",),
)

SCRAPE_TIMESTAMP = Family(
    "ccl_scrape_timestamp_seconds",
    "gauge",
    "When the charger was read; scrapers that come together or within 0.9 s share one reading.",
)
REJECTED = Family(
    "ccl_rejected_readings_total",
    "counter",
    "Readings of energy registers that were held back because they cannot be.",
    ("device", "variable", "reason"),
)

# Plugs

PLUG_STATE = Family(
    "ccl_plug_state", "stateset", "State of the plug (<plug>.STATE, else plugState).", _PLUG, _states()
)
PLUG_STATUS = Family(
    "ccl_plug_status",
    "stateset",
    "State of the plug in the words of OCPI (from state, error and enabled).",
    _PLUG,
    _statuses(),
)
PLUG_ERROR = Family(
    "ccl_plug_error",
    "stateset",
    "Faults of the plug (bits of <plug>.ERROR, else plugState); several may hold, none if all is well.",
    _PLUG,
    _bits("plug_error"),
)
PLUG_NOT_CHARGING = Family(
    "ccl_plug_not_charging_reason",
    "stateset",
    "The one reason why the plug does not charge; no word holds while it charges.",
    _PLUG,
    tuple(NotCharging),
)
PLUG_CONNECTED = Family(
    "ccl_plug_vehicle_connected", "gauge", "Whether a vehicle is connected (<plug>.CC, else plugState).", _PLUG
)
PLUG_LOCKED = Family(
    "ccl_plug_locked", "gauge", "Whether the plug is locked (plugState, else <plug>.LOCK).", _PLUG
)
PLUG_ENABLED = Family(
    "ccl_plug_enabled", "gauge", "Whether the plug may be used (<plug>.ENABLE and not OUT_OF_SERVICE).", _PLUG
)
PLUG_ENERGY = Family(
    "ccl_plug_energy_joules_total",
    "counter",
    "Energy that the plug has delivered in its life (<plug>.AE, else AE of its meter).",
    _PLUG,
)
PLUG_METER_DIFFERENCE = Family(
    "ccl_plug_meter_difference_joules",
    "gauge",
    "What the plug's register has more than chargeInfo says (<plug>.AE less chargeInfo.activeEnergy).",
    _PLUG,
)
PLUG_POWER = Family(
    "ccl_plug_power_watts", "gauge", "Active power (<plug>.API, or API by phase of its meter).", _PLUG_PHASE
)
PLUG_CURRENT = Family(
    "ccl_plug_current_amperes", "gauge", "Current (<plug>.AI, or AI by phase of its meter).", _PLUG_PHASE
)
PLUG_VOLTAGE = Family(
    "ccl_plug_voltage_volts", "gauge", "Voltage (<plug>.VI, or VI by phase of its meter).", _PLUG_PHASE
)
PLUG_CURRENT_MAX = Family(
    "ccl_plug_current_max_amperes",
    "gauge",
    "Highest current of the socket (supportedCurrent of plugInfo, else INTENSITY).",
    _PLUG,
)
PLUG_REDUCTION = Family(
    "ccl_plug_power_reduction_ratio",
    "gauge",
    "By how much the power is reduced, 0 is not at all (PREDUCTION).",
    _PLUG,
)
PLUG_CURRENT_LIMIT = Family(
    "ccl_plug_current_limit_amperes",
    "gauge",
    "Current that is allowed now (INTENSITY less PREDUCTION, at most CURRENT_REDUCTION).",
    _PLUG,
)

# The running charge, or the last one

CHARGE_ENERGY = Family(
    "ccl_charge_energy_joules",
    "gauge",
    "Energy of this or the last charge (chargeInfo.partialActiveEnergy).",
    _PLUG,
)
CHARGE_REQUEST = Family(
    "ccl_charge_request_timestamp_seconds",
    "gauge",
    "When the charge was asked for (chargeInfo.requestDate).",
    _PLUG,
)
CHARGE_BEGIN = Family(
    "ccl_charge_begin_timestamp_seconds", "gauge", "When the charge began (chargeInfo.beginDate).", _PLUG
)
CHARGE_END = Family(
    "ccl_charge_end_timestamp_seconds", "gauge", "When the charge ended (chargeInfo.endDate).", _PLUG
)
CHARGE_DURATION = Family(
    "ccl_charge_duration_seconds", "gauge", "How long the charge took or has taken (chargeInfo.chargeTime).", _PLUG
)
CHARGE_STOP_REASON = Family(
    "ccl_charge_stop_reason",
    "stateset",
    "Why the last charge stopped (chargeInfo.stopped).",
    _PLUG,
    _words("stop_reason"),
)

# The station

STATION_STATE = Family(
    "ccl_station_state", "stateset", "State of the station (STATE of the engine).", (), _words("station_state")
)
STATION_ERROR = Family(
    "ccl_station_error",
    "stateset",
    "Faults of the station (bits of ERROR of the engine); several may hold, none if all is well.",
    (),
    _bits("station_error"),
)
STATION_INFO = Family(
    "ccl_station_info",
    "info",
    "What the engine calls itself (system/information.xml).",
    ("company", "product", "version"),
)
STATION_TEMPERATURE = Family("ccl_station_temperature_celsius", "gauge", "Temperature of the board (TCI).")
STATION_BOOT = Family("ccl_station_boot_timestamp_seconds", "gauge", "When the station was started (RUNTIME).")
STATION_EVENTS = Family("ccl_station_active_events", "gauge", "Active events (system/status.xml).")
STATION_CLOCK = Family(
    "ccl_station_clock_timestamp_seconds", "gauge", "The engine's clock when it answered (Date header)."
)

# Devices and the walk

DEVICE_UP = Family("ccl_device_up", "gauge", "Whether the device answered and its STATUS is 1.", ("device",))
DEVICE_STATUS = Family(
    "ccl_device_status",
    "gauge",
    "STATUS of the device as sent, a bit mask: 1 is well, 34 is off line.",
    ("device",),
)
DEVICE_INFO = Family(
    "ccl_device_info", "info", "Type of the device (deviceInfo.xml).", ("device", "type", "description")
)
VARIABLE_INFO = Family(
    "ccl_variable_info",
    "info",
    "What the engine says of a variable (varInfo.xml), or the catalogue: title, unit of the value as sent.",
    ("device", "variable", "title", "unit", "writable"),
)


def _variable(name: str, help: str) -> Family:
    return Family(
        f"ccl_variable_{name}", "counter" if name.endswith("_total") else "gauge", help, _VARIABLE_LABELS
    )


VARIABLES: Mapping[str | None, Family] = {
    "volts": _variable("volts", "Variables in volts (#V)."),
    "amperes": _variable("amperes", "Variables in amperes (#A)."),
    "watts": _variable("watts", "Variables of active power (#W)."),
    "voltamperes": _variable("voltamperes", "Variables of apparent power (#VA)."),
    "vars": _variable("vars", "Variables of reactive power (#VAR, #VARL, #VARC)."),
    "hertz": _variable("hertz", "Variables of frequency (#HZ)."),
    "celsius": _variable("celsius", "Variables of temperature (TCI, TFI)."),
    "degrees": _variable("degrees", "Variables of angle (#DEGREES)."),
    "seconds": _variable("seconds", "Variables of duration (#SECONDS, #HOURS)."),
    "timestamp": _variable("timestamp_seconds", "Variables that hold a date (#DATETIME), in Unix seconds."),
    "ratio": _variable("ratio", "Variables of percentage (#PERCENT) and power factors (#PF), 1 is all."),
    "joules_total": _variable("joules_total", "Registers of active energy (#WH) that only grow, such as AE."),
    "var_seconds_total": _variable("var_seconds_total", "Registers of reactive energy (#VARH, #VARLH, #VARCH)."),
    "voltampere_seconds_total": _variable("voltampere_seconds_total", "Registers of apparent energy (#VAH)."),
    "joules": _variable(
        "partial_joules", "Other active energy (#WH): at begin or end of a period, of this charge."
    ),
    "var_seconds": _variable("partial_var_seconds", "Other reactive energy (#VARH, #VARLH, #VARCH)."),
    "voltampere_seconds": _variable("partial_voltampere_seconds", "Other apparent energy (#VAH)."),
    None: _variable(
        "value", "Variables without a unit, or with one that nobody knows: the number as sent, unscaled."
    ),
}
"""The family of a walked variable by its quantity; energies that only grow have `_total` behind it."""

# The exporter itself, on /metrics only

BUILD_INFO = Family(
    "ccl_exporter_build_info",
    "info",
    "Version of this exporter and of the Python that runs it.",
    ("python", "version"),
)
RELOAD_SUCCESSFUL = Family(
    "ccl_exporter_config_last_reload_successful", "gauge", "Whether the configuration was well when last read."
)
RELOAD_TIMESTAMP = Family(
    "ccl_exporter_config_last_reload_success_timestamp_seconds", "gauge", "When the configuration was last well."
)
READS = Family(
    "ccl_exporter_charger_reads_total", "counter", "Times that a charger was read, well or not.", ("charger",)
)
FAILED_READS = Family(
    "ccl_exporter_charger_failed_reads_total", "counter", "Times that a charger did not answer.", ("charger",)
)
SHARED_READINGS = Family(
    "ccl_exporter_charger_shared_readings_total",
    "counter",
    "Times that a reading served another scrape too.",
    ("charger",),
)
SKIPPED_READS = Family(
    "ccl_exporter_charger_skipped_reads_total",
    "counter",
    "Times that an absent charger was left alone instead of being read.",
    ("charger",),
)
BACKOFF_UNTIL = Family(
    "ccl_exporter_charger_backoff_until_timestamp_seconds",
    "gauge",
    "Until when an absent charger is left alone; 0 if it is not.",
    ("charger",),
)

_SINK = ("sink",)
INFLUXDB_SPOOL_POINTS = Family(
    "ccl_influxdb_spool_points", "gauge", "Points that are on disk and not yet in the database.", _SINK
)
INFLUXDB_SPOOL_BYTES = Family("ccl_influxdb_spool_bytes", "gauge", "What the spool takes of the disk.", _SINK)
INFLUXDB_SPOOL_OLDEST = Family(
    "ccl_influxdb_spool_oldest_timestamp_seconds",
    "gauge",
    "When the oldest reading that waits was taken; none while nothing waits.",
    _SINK,
)
INFLUXDB_SPOOL_DAMAGED = Family(
    "ccl_influxdb_spool_damaged_total",
    "counter",
    "Spool files that were damaged or of another version and were set aside.",
    _SINK,
)
INFLUXDB_SPOOLED = Family(
    "ccl_influxdb_spooled_points_total", "counter", "Points that were stored on disk, to be sent.", _SINK
)
INFLUXDB_SENT = Family("ccl_influxdb_sent_points_total", "counter", "Points that the database has taken.", _SINK)
INFLUXDB_REJECTED = Family(
    "ccl_influxdb_rejected_points_total",
    "counter",
    "Points that the database refused, whole or a field of them; what was refused is set aside.",
    _SINK,
)
INFLUXDB_DROPPED = Family(
    "ccl_influxdb_dropped_points_total",
    "counter",
    "Points that are lost: too old, too many for the spool, or not stored as the disk was full.",
    _SINK,
)
INFLUXDB_LAST_SUCCESS = Family(
    "ccl_influxdb_last_success_timestamp_seconds", "gauge", "When the database last took something.", _SINK
)
INFLUXDB_SEND_SECONDS = Family(
    "ccl_influxdb_send_duration_seconds", "gauge", "How long the last request to the database took.", _SINK
)
INFLUXDB = (
    INFLUXDB_SPOOL_POINTS,
    INFLUXDB_SPOOL_BYTES,
    INFLUXDB_SPOOL_OLDEST,
    INFLUXDB_SPOOL_DAMAGED,
    INFLUXDB_SPOOLED,
    INFLUXDB_SENT,
    INFLUXDB_REJECTED,
    INFLUXDB_DROPPED,
    INFLUXDB_LAST_SUCCESS,
    INFLUXDB_SEND_SECONDS,
)

MQTT_CONNECTED = Family("ccl_mqtt_connected", "gauge", "Whether the broker takes what is published.")
MQTT_SENT = Family("ccl_mqtt_sent_messages_total", "counter", "Messages that were sent to the broker.")

# A session that has ended, for databases only: on /metrics it would be a label for every session

FINISHED_REQUEST = Family(
    "ccl_finished_charge_request_timestamp_seconds", "gauge", "When the charge was asked for.", _PLUG
)


FINISHED_BEGIN = Family("ccl_finished_charge_begin_timestamp_seconds", "gauge", "When the charge began.", _PLUG)


FINISHED_END = Family("ccl_finished_charge_end_timestamp_seconds", "gauge", "When the charge ended.", _PLUG)


FINISHED_ENERGY = Family("ccl_finished_charge_energy_joules", "gauge", "Energy of the charge.", _PLUG)


FINISHED_DURATION = Family("ccl_finished_charge_duration_seconds", "gauge", "How long the charge took.", _PLUG)


FINISHED_HIGHEST_POWER = Family(
    "ccl_finished_charge_highest_power_watts", "gauge", "The highest power seen.", _PLUG
)


FINISHED_STOP_REASON = Family(
    "ccl_finished_charge_stop_reason", "stateset", "Why the charge stopped.", _PLUG, CHARGE_STOP_REASON.states
)


FINISHED_CHARGE = (
    FINISHED_REQUEST,
    FINISHED_BEGIN,
    FINISHED_END,
    FINISHED_ENERGY,
    FINISHED_DURATION,
    FINISHED_HIGHEST_POWER,
    FINISHED_STOP_REASON,
)


# What a follower shows on a port of its own

FOLLOW_REASONS = (
    "following",
    "bridging",
    "below_minimum",
    "no_vehicle",
    "stale",
    "implausible",
    "contradiction",
    "charger_unavailable",
    "write_ignored",
    "limit_exceeded",
    "budget",
    "returning",
    "stopping",
)
"""Why the limit is what it is."""


FOLLOW_INFO = Family("ccl_follow_info", "info", "What is followed: mode, and plug.", ("mode", "plug"))


FOLLOW_REASON = Family(
    "ccl_follow_reason",
    "stateset",
    "Why the limit is what it is; 1 for the one that holds.",
    states=FOLLOW_REASONS,
)


FOLLOW_INPUT = Family("ccl_follow_input_watts", "gauge", "The number as it came, in watts; none before the first.")


FOLLOW_INPUT_TIME = Family("ccl_follow_input_timestamp_seconds", "gauge", "When the number was taken.")


FOLLOW_AVAILABLE = Family(
    "ccl_follow_available_watts", "gauge", "Power that the car may take by that number; none while nobody knows."
)


FOLLOW_TARGET = Family(
    "ccl_follow_target_amperes", "gauge", "Current that the car would be given if writes cost nothing."
)


FOLLOW_LIMIT = Family("ccl_follow_limit_amperes", "gauge", "Limit that the charger reads back.")


FOLLOW_CURRENT = Family("ccl_follow_current_amperes", "gauge", "Current that the charger's meter measures.")


FOLLOW_WRITES_LEFT = Family("ccl_follow_writes_left", "gauge", "Writes that this hour still has.")


FOLLOW_WRITES = Family("ccl_follow_writes_total", "counter", "Writes that were sent to the charger.")


FOLLOW_FAILED_WRITES = Family(
    "ccl_follow_failed_writes_total", "counter", "Writes that the charger did not accept."
)


FOLLOW_STARTS = Family(
    "ccl_follow_starts_total", "counter", "Times that a pause ended, so that the car started anew."
)


FOLLOW = (
    FOLLOW_INFO,
    FOLLOW_REASON,
    FOLLOW_INPUT,
    FOLLOW_INPUT_TIME,
    FOLLOW_AVAILABLE,
    FOLLOW_TARGET,
    FOLLOW_LIMIT,
    FOLLOW_CURRENT,
    FOLLOW_WRITES_LEFT,
    FOLLOW_WRITES,
    FOLLOW_FAILED_WRITES,
    FOLLOW_STARTS,
)


READING = (
    UP,
    SCRAPE_TIMESTAMP,
    SCRAPE_DURATION,
    SCRAPE_TIMEOUT,
    SCRAPE_REQUESTS,
    DOCUMENT_SUCCESS,
    DOCUMENT_DURATION,
)
CORE = (
    PLUG_STATE,
    PLUG_STATUS,
    PLUG_ERROR,
    PLUG_NOT_CHARGING,
    PLUG_CONNECTED,
    PLUG_LOCKED,
    PLUG_ENABLED,
    PLUG_ENERGY,
    PLUG_METER_DIFFERENCE,
    PLUG_POWER,
    PLUG_CURRENT,
    PLUG_VOLTAGE,
    PLUG_CURRENT_MAX,
    PLUG_REDUCTION,
    PLUG_CURRENT_LIMIT,
    CHARGE_ENERGY,
    CHARGE_REQUEST,
    CHARGE_BEGIN,
    CHARGE_END,
    CHARGE_DURATION,
    CHARGE_STOP_REASON,
    STATION_STATE,
    STATION_ERROR,
    STATION_INFO,
    STATION_TEMPERATURE,
    STATION_BOOT,
    STATION_EVENTS,
    STATION_CLOCK,
)
DEVICES = (DEVICE_UP, DEVICE_STATUS, DEVICE_INFO, VARIABLE_INFO, REJECTED)
EXPORTER = (
    BUILD_INFO,
    RELOAD_SUCCESSFUL,
    RELOAD_TIMESTAMP,
    READS,
    FAILED_READS,
    SHARED_READINGS,
    SKIPPED_READS,
    BACKOFF_UNTIL,
    *INFLUXDB,
    MQTT_CONNECTED,
    MQTT_SENT,
)
FAMILIES = (*READING, *CORE, *DEVICES, *VARIABLES.values())
"""Every family of a charger, in the order in which they are shown."""
