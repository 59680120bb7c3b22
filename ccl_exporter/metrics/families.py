"""Every metric family that a charger can show: the contract with the outside, in one list.

A name is the quantity in base units; nothing here is made from what a device says.
"""

from collections.abc import Iterable, Mapping
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
    """One value of a family, for any output.

    `labels` are in the order of the family's label names.
    For a stateset `value` is the code as the engine sent it, `active` the words that hold.
    """

    family: Family
    labels: tuple[str, ...]
    value: float
    active: tuple[str, ...] = ()


def _gauge(name: str, help: str, *labels: str) -> Family:
    return Family(name, "gauge", help, labels)


def _counter(name: str, help: str, *labels: str) -> Family:
    return Family(name, "counter", help, labels)


def _info(name: str, help: str, *labels: str) -> Family:
    return Family(name, "info", help, labels)


def _stateset(name: str, help: str, states: Iterable[str], *labels: str) -> Family:
    return Family(name, "stateset", help, labels, tuple(states))


def _and_unknown(words: Iterable[str]) -> tuple[str, ...]:
    """Words of the catalogue, `unknown` always among them and last."""
    return (*(word for word in words if word != "unknown"), "unknown")


# The reading itself

UP = _gauge("ccl_up", "1 if the charger sent values in time, otherwise 0.")
SCRAPE_TIMESTAMP = _gauge(
    "ccl_scrape_timestamp_seconds",
    "When the charger was read; scrapes at once or within 0.9 s share one read.",
)
SCRAPE_DURATION = _gauge("ccl_scrape_duration_seconds", "Duration of the read of the charger.")
SCRAPE_TIMEOUT = _gauge("ccl_scrape_timeout_seconds", "Time limit of the read of the charger.")
SCRAPE_REQUESTS = _gauge("ccl_scrape_requests", "Requests sent to the charger for this read.")
DOCUMENT_SUCCESS = _gauge(
    "ccl_scrape_document_success",
    "1 if this kind of document was complete and valid when it was last due, otherwise 0.",
    "document",
)
DOCUMENT_DURATION = _gauge(
    "ccl_scrape_document_duration_seconds",
    "Duration of the last request for this kind of document.",
    "document",
)

# Plugs

PLUG_STATE = _stateset(
    "ccl_plug_state",
    "State of the plug (<plug>.STATE, else plugState).",
    _and_unknown(state.word for state in catalogue().plug_states.values()),
    "plug",
)
PLUG_STATUS = _stateset(
    "ccl_plug_status",
    "State of the plug in the words of OCPI (from state, error and enabled).",
    _and_unknown(sorted({state.status for state in catalogue().plug_states.values()})),
    "plug",
)
PLUG_ERROR = _stateset(
    "ccl_plug_error",
    "Faults of the plug (bits of <plug>.ERROR, else plugState); several may hold, none without a fault.",
    _and_unknown(catalogue().bits["plug_error"]),
    "plug",
)
PLUG_NOT_CHARGING = _stateset(
    "ccl_plug_not_charging_reason",
    "The one reason why the plug does not charge; no word holds while it charges.",
    NotCharging,
    "plug",
)
PLUG_CONNECTED = _gauge(
    "ccl_plug_vehicle_connected", "Whether a vehicle is connected (<plug>.CC, else plugState).", "plug"
)
PLUG_LOCKED = _gauge("ccl_plug_locked", "Whether the plug is locked (plugState, else <plug>.LOCK).", "plug")
PLUG_ENABLED = _gauge(
    "ccl_plug_enabled", "Whether the plug may be used (<plug>.ENABLE and not OUT_OF_SERVICE).", "plug"
)
PLUG_ENERGY = _counter(
    "ccl_plug_energy_joules_total",
    "Energy delivered in the lifetime of the plug (<plug>.AE, else AE of its meter).",
    "plug",
)
PLUG_METER_DIFFERENCE = _gauge(
    "ccl_plug_meter_difference_joules",
    "Difference of the plug's register and chargeInfo (<plug>.AE less chargeInfo.activeEnergy).",
    "plug",
)
PLUG_POWER = _gauge(
    "ccl_plug_power_watts", "Active power (<plug>.API, or API by phase of its meter).", "plug", "phase"
)
PLUG_CURRENT = _gauge(
    "ccl_plug_current_amperes",
    "Current (<plug>.AI, or AI by phase of its meter); phases must not be summed.",
    "plug",
    "phase",
)
PLUG_VOLTAGE = _gauge(
    "ccl_plug_voltage_volts",
    "Voltage (<plug>.VI, or VI by phase of its meter); must not be summed.",
    "plug",
    "phase",
)
PLUG_CURRENT_MAX = _gauge(
    "ccl_plug_current_max_amperes",
    "Highest current of the socket (supportedCurrent of plugInfo, else INTENSITY).",
    "plug",
)
PLUG_REDUCTION = _gauge(
    "ccl_plug_power_reduction_ratio",
    "Reduction of the power, 0 is no reduction (PREDUCTION); must not be summed.",
    "plug",
)
PLUG_CURRENT_LIMIT = _gauge(
    "ccl_plug_current_limit_amperes",
    "Current that is allowed now (INTENSITY less PREDUCTION, at most CURRENT_REDUCTION).",
    "plug",
)

# The running charge, or the last one

CHARGE_ENERGY = _gauge(
    "ccl_charge_energy_joules", "Energy of this or the last session (chargeInfo.partialActiveEnergy).", "plug"
)
CHARGE_REQUEST = _gauge(
    "ccl_charge_request_timestamp_seconds", "When the session was requested (chargeInfo.requestDate).", "plug"
)
CHARGE_BEGIN = _gauge(
    "ccl_charge_begin_timestamp_seconds", "When the session began (chargeInfo.beginDate).", "plug"
)
CHARGE_END = _gauge("ccl_charge_end_timestamp_seconds", "When the session ended (chargeInfo.endDate).", "plug")
CHARGE_DURATION = _gauge(
    "ccl_charge_duration_seconds", "Duration of this or the last session (chargeInfo.chargeTime).", "plug"
)
CHARGE_STOP_REASON = _stateset(
    "ccl_charge_stop_reason",
    "Why the last session stopped (chargeInfo.stopped).",
    _and_unknown(catalogue().codes["stop_reason"].values()),
    "plug",
)

# The station

STATION_STATE = _stateset(
    "ccl_station_state",
    "State of the station (STATE of the engine).",
    _and_unknown(catalogue().codes["station_state"].values()),
)
STATION_ERROR = _stateset(
    "ccl_station_error",
    "Faults of the station (bits of ERROR of the engine); several may hold, none without a fault.",
    _and_unknown(catalogue().bits["station_error"]),
)
STATION_INFO = _info(
    "ccl_station_info",
    "Company, product and version of the engine (system/information.xml).",
    "company",
    "product",
    "version",
)
STATION_TEMPERATURE = _gauge("ccl_station_temperature_celsius", "Temperature of the board (TCI).")
STATION_BOOT = _gauge("ccl_station_boot_timestamp_seconds", "When the station was started (RUNTIME).")
STATION_EVENTS = _gauge("ccl_station_active_events", "Active events (system/status.xml).")
STATION_CLOCK = _gauge("ccl_station_clock_timestamp_seconds", "The engine's clock when it answered (Date header).")

# Devices and their variables

DEVICE_UP = _gauge("ccl_device_up", "1 if the device answered and its STATUS is 1, otherwise 0.", "device")
DEVICE_STATUS = _gauge(
    "ccl_device_status",
    "STATUS of the device as sent, a bit mask: 1 is OK, 34 is offline; must not be summed.",
    "device",
)
DEVICE_INFO = _info("ccl_device_info", "Type of the device (deviceInfo.xml).", "device", "type", "description")
VARIABLE_INFO = _info(
    "ccl_variable_info",
    "Description of a variable (varInfo.xml, else the catalogue): title, unit of the value as sent.",
    "device",
    "variable",
    "title",
    "unit",
    "writable",
)
REJECTED = _counter(
    "ccl_rejected_readings_total",
    "Values that were rejected as implausible: `zero`, `rollback`, `jump`, `sentinel`, `range`, `unit`.",
    "device",
    "variable",
    "reason",
)


def _variable(name: str, help: str) -> Family:
    """A sum over its series means nothing: they are phases, totals of them, and registers of one energy."""
    kind = _counter if name.endswith("_total") else _gauge
    return kind(f"ccl_variable_{name}", f"{help} Must not be summed.", "device", "variable")


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
    None: _variable("value", "Variables without a unit, or with an unknown one: the number as sent, unscaled."),
}
"""The family of a variable by its quantity; energies that only grow have `_total` behind it."""

# The exporter itself, on /metrics only

BUILD_INFO = _info(
    "ccl_exporter_build_info", "Version of this exporter and of the Python that runs it.", "python", "version"
)
RELOAD_SUCCESSFUL = _gauge(
    "ccl_exporter_config_last_reload_successful",
    "1 if the configuration was valid when it was last read, otherwise 0.",
)
RELOAD_TIMESTAMP = _gauge(
    "ccl_exporter_config_last_reload_success_timestamp_seconds", "When a valid configuration was last read."
)
READS = _counter("ccl_exporter_charger_reads_total", "Reads of a charger, failed ones included.", "charger")
FAILED_READS = _counter("ccl_exporter_charger_failed_reads_total", "Reads of a charger that failed.", "charger")
SHARED_READINGS = _counter(
    "ccl_exporter_charger_shared_readings_total", "Scrapes that shared the reading of another one.", "charger"
)
SKIPPED_READS = _counter(
    "ccl_exporter_charger_skipped_reads_total",
    "Reads that were skipped during the backoff of a charger that does not answer.",
    "charger",
)
BACKOFF_UNTIL = _gauge(
    "ccl_exporter_charger_backoff_until_timestamp_seconds",
    "End of the backoff of a charger that does not answer; 0 without a backoff.",
    "charger",
)

WORKER_UP = _gauge(
    "ccl_exporter_worker_up",
    "1 if a part of the exporter works, 0 while it waits to be restarted after an error.",
    "worker",
)
WORKER_RESTARTS = _counter(
    "ccl_exporter_worker_restarts_total", "Restarts of a part of the exporter after an error.", "worker"
)

INFLUXDB_SPOOL_POINTS = _gauge("ccl_influxdb_spool_points", "Points in the queue on disk.", "sink")
INFLUXDB_SPOOL_BYTES = _gauge("ccl_influxdb_spool_bytes", "Size of the queue on disk.", "sink")
INFLUXDB_SPOOL_MAX_BYTES = _gauge(
    "ccl_influxdb_spool_max_bytes",
    "Largest size of the queue on disk; beyond it the oldest points are dropped.",
    "sink",
)
INFLUXDB_SPOOL_RETENTION = _gauge(
    "ccl_influxdb_spool_retention_seconds", "Longest time that a reading waits; then it is dropped.", "sink"
)
INFLUXDB_SPOOL_OLDEST = _gauge(
    "ccl_influxdb_spool_oldest_timestamp_seconds",
    "Time of the oldest reading in the queue; no series while the queue is empty.",
    "sink",
)
INFLUXDB_SPOOL_DAMAGED = _counter(
    "ccl_influxdb_spool_damaged_total",
    "Queue files that were damaged or of another version and were set aside.",
    "sink",
)
INFLUXDB_SPOOLED = _counter("ccl_influxdb_spooled_points_total", "Points that were stored in the queue.", "sink")
INFLUXDB_SENT = _counter("ccl_influxdb_sent_points_total", "Points that the database has acknowledged.", "sink")
INFLUXDB_REJECTED = _counter(
    "ccl_influxdb_rejected_points_total",
    "Points that the database refused, whole or a field of them; what was refused is set aside.",
    "sink",
)
INFLUXDB_REFUSALS = _counter(
    "ccl_influxdb_refusals_total", "Requests that the database refused for their lines or their size.", "sink"
)
INFLUXDB_DROPPED = _counter(
    "ccl_influxdb_dropped_points_total",
    "Points that are lost: too old, too many for the queue, or not stored because the disk was full.",
    "sink",
)
INFLUXDB_LAST_SUCCESS = _gauge(
    "ccl_influxdb_last_success_timestamp_seconds", "When the database last acknowledged points.", "sink"
)
INFLUXDB_SEND_SECONDS = _gauge(
    "ccl_influxdb_send_duration_seconds", "Duration of the last request to the database.", "sink"
)

INFLUXDB_MISSED = _counter(
    "ccl_influxdb_missed_readings_total", "Readings that were due and were not taken in time.", "sink"
)

MQTT_CONNECTED = _gauge("ccl_mqtt_connected", "1 if the connection to the broker works, otherwise 0.")
MQTT_SENT = _counter("ccl_mqtt_sent_messages_total", "Messages sent to the broker.")
MQTT_MISSED = _counter("ccl_mqtt_missed_readings_total", "Readings that were due and were not taken in time.")

TARIFF_PRICE = _gauge(
    "ccl_tariff_price_per_kilowatt_hour", "Price of a kilowatt-hour now by the configured tariff.", "currency"
)
TARIFF_CHEAP = _gauge(
    "ccl_tariff_cheap", "1 in the hours of the lowest price of the configured tariff, otherwise 0."
)

# A session that has ended, for databases only: on /metrics it would be a label for every session

FINISHED_REQUEST = _gauge(
    "ccl_finished_charge_request_timestamp_seconds", "When the session was requested.", "plug"
)
FINISHED_BEGIN = _gauge("ccl_finished_charge_begin_timestamp_seconds", "When the session began.", "plug")
FINISHED_END = _gauge("ccl_finished_charge_end_timestamp_seconds", "When the session ended.", "plug")
FINISHED_ENERGY = _gauge("ccl_finished_charge_energy_joules", "Energy of the session.", "plug")
FINISHED_DURATION = _gauge("ccl_finished_charge_duration_seconds", "Duration of the session.", "plug")
FINISHED_HIGHEST_POWER = _gauge(
    "ccl_finished_charge_highest_power_watts", "The highest power that was read.", "plug"
)
FINISHED_STOP_REASON = _stateset(
    "ccl_finished_charge_stop_reason", "Why the session stopped.", CHARGE_STOP_REASON.states, "plug"
)


# What a follower shows on a port of its own

FOLLOW_INFO = _info("ccl_follow_info", "What is followed: mode, and plug.", "mode", "plug")
FOLLOW_REASON = _stateset(
    "ccl_follow_reason",
    "Reason for the limit; 1 for the one that holds.",
    (
        "following",
        "bridging",
        "full_hours",
        "boost",
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
    ),
)
FOLLOW_INPUT = _gauge("ccl_follow_input_watts", "The newest input in watts; no series before the first.")
FOLLOW_INPUT_TIME = _gauge("ccl_follow_input_timestamp_seconds", "Time of the newest input.")
FOLLOW_AVAILABLE = _gauge(
    "ccl_follow_available_watts", "Power that the car may take by that input; no series while it is not known."
)
FOLLOW_TARGET = _gauge("ccl_follow_target_amperes", "Current that the input allows, before the budget of writes.")
FOLLOW_LIMIT = _gauge("ccl_follow_limit_amperes", "Limit that the charger reads back.")
FOLLOW_CURRENT = _gauge("ccl_follow_current_amperes", "Current that the charger's meter measures.")
FOLLOW_WRITES_LEFT = _gauge("ccl_follow_writes_left", "Writes that are left in this hour.")
FOLLOW_WRITES = _counter("ccl_follow_writes_total", "Writes sent to the charger.")
FOLLOW_FAILED_WRITES = _counter("ccl_follow_failed_writes_total", "Writes that the charger did not accept.")
FOLLOW_STARTS = _counter("ccl_follow_starts_total", "Ends of a pause, after which the car started again.")

# What `charge plan` shows on a port of its own

PLAN_NEEDED = _gauge("ccl_plan_needed_joules", "Energy needed by the deadline.")
PLAN_CHARGED = _gauge("ccl_plan_charged_joules", "Energy that was charged since the plan began.")
PLAN_NEXT_START = _gauge(
    "ccl_plan_next_start_timestamp_seconds", "When the next charge of the plan begins; no series if there is none."
)
PLAN_DEADLINE = _gauge("ccl_plan_deadline_timestamp_seconds", "Deadline for the energy.")
PLAN_FEASIBLE = _gauge("ccl_plan_feasible", "1 if the energy can be charged by the deadline, otherwise 0.")


def _named(*prefixes: str) -> tuple[Family, ...]:
    """The families above whose names begin with one of these, in the order in which they stand there."""
    defined = [value for value in globals().values() if isinstance(value, Family)]
    return tuple(family for family in defined if family.name.startswith(prefixes))


READING = _named("ccl_up", "ccl_scrape_")
CORE = _named("ccl_plug_", "ccl_charge_", "ccl_station_")
DEVICES = _named("ccl_device_", "ccl_variable_", "ccl_rejected_")
EXPORTER = _named("ccl_exporter_", "ccl_influxdb_", "ccl_mqtt_", "ccl_tariff_")
FINISHED_CHARGE = _named("ccl_finished_charge_")
FOLLOW = _named("ccl_follow_")
PLAN = _named("ccl_plan_")
FAMILIES = (*READING, *CORE, *DEVICES, *VARIABLES.values())
"""Every family of a charger, in the order in which they are shown."""
