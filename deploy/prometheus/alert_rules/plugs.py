"""Alerts about a plug: its faults, its sessions, its currents and voltages, its register."""

from alert_rules.model import Alert, Group, Severity
from alert_rules.words import (
    CHARGER,
    CHARGER_OR_PLUG,
    PLUG,
    choice,
    coded,
    command,
    fault,
    fault_step,
    reason_and_remedy,
    stop,
)
from ccl_exporter.metrics import families as f
from ccl_exporter.station.catalogue import NotCharging
from ccl_exporter.station.remedies import FAULT_STEPS

_STATUS = command("charge status")
_OWN_ALERT = ("rcd", "temperature", "contactor", "lock")

FAULTS = Group(
    "ccl-faults",
    (
        Alert(
            "CclPlugFault",
            f"""last_over_time(ccl_plug_error{{ccl_plug_error!~"{"|".join(_OWN_ALERT)}"}}[3m]) == 1
  or on (job, instance, plug) (
    last_over_time(ccl_plug_state{{ccl_plug_state="error"}}[3m]) == 1
      unless on (job, instance, plug) last_over_time(ccl_plug_error[3m]) == 1)""",
            f"{PLUG}: a fault{{{{ with $labels.ccl_plug_error }}}}: {fault(f.PLUG_ERROR.name)}{{{{ end }}}}.",
            "The fault has stayed for 2 minutes, and no vehicle can charge there."
            f" {_STATUS} shows it. {fault_step(f.PLUG_ERROR.name, _OWN_ALERT)}",
            Severity.CRITICAL,
            Severity.CRITICAL,
            "2m",
            "Faults with an alert of their own are left out; an error state without a bit is one too.",
        ),
        Alert(
            "CclGroundFault",
            """max_over_time(ccl_plug_error{ccl_plug_error="rcd"}[5m]) == 1
  or max_over_time(ccl_station_error{ccl_station_error="rcd"}[5m]) == 1""",
            f"{CHARGER_OR_PLUG}: the safety switch (RCD) has tripped.",
            f"{FAULT_STEPS['rcd']} It may be the vehicle: remember which one it was.",
            Severity.CRITICAL,
            Severity.CRITICAL,
        ),
        Alert(
            "CclTemperatureFault",
            """last_over_time(ccl_plug_error{ccl_plug_error="temperature"}[3m]) == 1
  or last_over_time(ccl_station_error{ccl_station_error="temperature"}[3m]) == 1""",
            f"{CHARGER_OR_PLUG}: the charger reports that it is too hot.",
            f"It may slow down or stop charging. {FAULT_STEPS['temperature']} Look for sun, a blocked vent, a loose"
            f" terminal. A lower limit helps: {command('charge limit 50%')}.",
            Severity.WARNING,
            Severity.WARNING,
            "5m",
        ),
        Alert(
            "CclContactorOrLock",
            'last_over_time(ccl_plug_error{ccl_plug_error=~"contactor|lock"}[3m]) == 1',
            f"{PLUG}: a fault of the {fault(f.PLUG_ERROR.name)}.",
            choice(f"$labels.{f.PLUG_ERROR.name}", {'"lock"': FAULT_STEPS["lock"]}, FAULT_STEPS["contactor"])
            + f" {command('charge disable')} takes the plug out of service.",
            Severity.CRITICAL,
            Severity.CRITICAL,
            "1m",
        ),
        Alert(
            "CclFaultFlapping",
            'changes(ccl_plug_state{ccl_plug_state="error"}[1h]) > 4',
            f"{PLUG}: a fault comes and goes.",
            'The plug went into or out of its state of error {{ printf "%.0f" $value }} times in an hour. Mostly it is'
            " a loose wire, moisture, or a vehicle that the charger does not get on with.",
            Severity.WARNING,
            Severity.WARNING,
        ),
        Alert(
            "CclOutOfService",
            "last_over_time(ccl_plug_enabled[1h]) == 0",
            f"{PLUG}: it has been out of service for a day.",
            f"If it was forgotten, {command('charge enable')} helps.",
            None,
            Severity.INFO,
            "1d",
            "A night tariff enables it every night.",
        ),
    ),
)

_WAITS = (
    NotCharging.WAITING_FOR_PERMISSION,
    NotCharging.VEHICLE_NOT_READY,
    NotCharging.WAITING_FOR_POWER,
    NotCharging.STARTING,
)
_IN_CHEAP_HOURS = (
    NotCharging.DISABLED,
    NotCharging.LIMIT_BELOW_MINIMUM,
    NotCharging.WAITING_FOR_POWER,
    NotCharging.WAITING_FOR_PERMISSION,
    NotCharging.WAITING_FOR_SCHEDULE,
    NotCharging.PAUSED,
    NotCharging.STARTING,
)
_STOPS = ("error", "vehicle_communication", "vehicle_over_current")

CHARGING = Group(
    "ccl-charging",
    (
        Alert(
            "CclConnectedNotCharging",
            f"""{coded(_WAITS)}
  and on (job, instance, plug) last_over_time(ccl_plug_vehicle_connected[3m]) == 1""",
            f"{PLUG}: a vehicle is connected and has not charged for 30 minutes.",
            reason_and_remedy(_WAITS),
            Severity.WARNING,
            Severity.WARNING,
            "30m",
            "Not where it is meant so: disabled, limited, paused, scheduled, reserved, or charged.",
        ),
        Alert(
            "CclChargingWithoutEnergy",
            """(max_over_time(ccl_plug_energy_joules_total[10m])
    - ignoring () min_over_time(ccl_plug_energy_joules_total[10m])) / 3600 < 10
  and on (job, instance, plug)
    min_over_time(ccl_plug_state{ccl_plug_state="charging"}[10m]) == 1""",
            f"{PLUG}: it is charging, but no energy flows.",
            'Its register grew by {{ printf "%.0f" $value }} Wh in 10 minutes. The vehicle draws nothing, or the'
            f" charger has lost its meter. {_STATUS} shows the current.",
            Severity.WARNING,
            Severity.WARNING,
            "10m",
            "A register counts tens of watt-hours: less than one step in ten minutes.",
        ),
        Alert(
            "CclEnergyWithoutCharge",
            """(last_over_time(ccl_plug_energy_joules_total[2m])
    - ignoring () last_over_time(ccl_plug_energy_joules_total[2m] offset 10m)) / 3.6e6 > 0.0194
  unless on (job, instance, plug)
    max without (ccl_plug_state) (
      max_over_time(ccl_plug_state{ccl_plug_state=~"starting|resuming|charging|pausing|stopping"}[15m])) == 1""",
            f"{PLUG}: energy flows although nothing charges.",
            'It delivered {{ printf "%.2f" $value }} kWh in 10 minutes without a session: a stuck contactor, or an'
            f" unauthorised use. Look at the plug. {command('charge disable')} takes it out of service.",
            Severity.CRITICAL,
            Severity.CRITICAL,
            "12m",
            "Longer than its window, so that a register that jumps once is not meant.",
        ),
        Alert(
            "CclStoppedAbnormally",
            """(last_over_time(ccl_charge_stop_reason{ccl_charge_stop_reason=~"error|vehicle_communication|vehicle_over_current"}[5m]) == 1
    and on (job, instance, plug, ccl_charge_stop_reason) min_over_time(ccl_charge_stop_reason[15m]) == 0)
  unless on (job, instance, plug) avg_over_time(ccl_plug_not_charging_reason{ccl_plug_not_charging_reason="fault"}[15m]) > 0.2""",
            f"{PLUG}: a session was ended {stop(_STOPS)}.",
            f"The vehicle may not be full. {command('charge start')} begins a new session.",
            Severity.WARNING,
            Severity.WARNING,
            "4m",
            "A fault that stays is the cause and has an alert of its own; this one waits until that is known.",
        ),
        Alert(
            "CclRebootDuringCharge",
            """(
    min_over_time((max without (ccl_plug_state) (ccl_plug_state{ccl_plug_state="charging"} == 1) * time())[15m:1m])
  < ignoring (plug) group_left ()
    last_over_time(ccl_station_boot_timestamp_seconds[5m])
  and on (job, instance)
    changes(ccl_station_boot_timestamp_seconds[15m]) > 0
) unless on (job, instance, plug) (
    last_over_time(ccl_charge_end_timestamp_seconds[2m])
  < ignoring (plug) group_left ()
    last_over_time(ccl_station_boot_timestamp_seconds[5m]))""",
            f"{PLUG}: the charger restarted during a session.",
            f"It restarted in the last 15 minutes. {_STATUS} shows whether the vehicle goes on, and"
            f" {command('charge start')} begins a new session. Look at its supply and at what else is written to it.",
            Severity.WARNING,
            Severity.CRITICAL,
            why="It charged before the time of the restart, and that session had not ended by then.",
        ),
        Alert(
            "CclBlockedAfterCharge",
            'last_over_time(ccl_plug_state{ccl_plug_state="waiting_for_disconnection"}[5m]) == 1',
            f"{PLUG}: a vehicle blocks it after its session.",
            "The session ended 4 hours ago, and the vehicle is still connected. Ask its driver to unplug it.",
            None,
            Severity.INFO,
            "4h",
        ),
        Alert(
            "CclLimitForgotten",
            "last_over_time(ccl_plug_power_reduction_ratio[1h]) > 0",
            f"{PLUG}: its power has been reduced for a day.",
            "It is reduced by {{ $value | humanizePercentage }} now. If the limit was forgotten,"
            f" {command('charge limit 100%')} lifts it.",
            Severity.INFO,
            Severity.INFO,
            "1d",
        ),
    ),
)

WINDOWS = (
    Group(
        "ccl-cheap-hours",
        (
            Alert(
                "CclCheapHoursNotCharging",
                f"""{coded(_IN_CHEAP_HOURS)}
  and on (job, instance, plug) last_over_time(ccl_plug_vehicle_connected[3m]) == 1
  and on (exporter) ccl_tariff_cheap == 1
  unless on (job, instance, plug)
    max_over_time(ccl_plug_energy_joules_total[8h])
      - ignoring () min_over_time(ccl_plug_energy_joules_total[8h]) > 0""",
                f"{PLUG}: the cheap hours pass, and the connected vehicle does not charge.",
                reason_and_remedy(_IN_CHEAP_HOURS),
                Severity.WARNING,
                None,
                "30m",
                "By the tariff of the exporter's configuration. A vehicle that was charged in the last 8 hours is none.",
            ),
        ),
        "5m",
    ),
    Group(
        "ccl-night-windows",
        (
            Alert(
                "CclNightWindowMissed",
                """(max_over_time(plug:ccl_plug_enabled:max15m[26h]) == 0
    and on (job, instance, plug) max_over_time(plug:ccl_plug_enabled:max15m[7d] offset 26h) == 1)
  and on (job, instance, plug)
    min_over_time(ccl_plug_vehicle_connected[1h]) == 1
  and on (job, instance, plug)
    sum without (month) (sum_over_time(plug:ccl_plug_energy_joules:sum5m[26h])) == 0""",
                f"{PLUG}: the night window passed without the plug being enabled.",
                "It was enabled in the days before, not in the last 26 hours, and a vehicle waits."
                f" {command('charge start')} charges it now. Look at the timer: `systemctl list-timers`.",
                Severity.WARNING,
                Severity.WARNING,
                why="From the end of one window to the end of the next are 24 hours, 25 when the clocks change. It goes"
                " by what happened, so there are no hours to configure.",
            ),
        ),
        "15m",
    ),
)

CURRENTS = Group(
    "ccl-currents-and-voltages",
    (
        Alert(
            "CclPhaseMissing",
            """(
    last_over_time(ccl_plug_voltage_volts{phase=~".+"}[3m]) < 50
  and on (job, instance, plug)
    max without (phase) (last_over_time(ccl_plug_voltage_volts{phase=~".+"}[3m])) > 180
)
or on (job, instance, plug, phase) (
    last_over_time(ccl_plug_current_amperes{phase=~".+"}[3m]) < 1
  and on (job, instance, plug, phase)
    max_over_time(ccl_plug_current_amperes[30m]) > 6
  and on (job, instance, plug)
    max without (phase) (last_over_time(ccl_plug_current_amperes{phase=~".+"}[3m])) > 6
  and on (job, instance, plug)
    min_over_time(ccl_plug_state{ccl_plug_state="charging"}[30m]) == 1)""",
            f"{PLUG}: the phase {{{{ toUpper $labels.phase }}}} is missing.",
            "It has had no voltage or no current for 10 minutes while the others have. Look for a fuse or a terminal.",
            Severity.WARNING,
            Severity.WARNING,
            "10m",
            "No voltage; or, in the course of one session, no current any more: a vehicle of one phase is none of this.",
        ),
        Alert(
            "CclPhaseImbalance",
            """max without (phase) (avg_over_time(ccl_plug_current_amperes{phase=~".+"}[5m]))
    - ignoring () min without (phase) (avg_over_time(ccl_plug_current_amperes{phase=~".+"}[5m])) > 4
  and on (job, instance, plug)
    min without (phase) (avg_over_time(ccl_plug_current_amperes{phase=~".+"}[5m])) > 6""",
            f"{PLUG}: its phases carry unequal currents.",
            "They have differed by {{ $value | humanize }} A for 15 minutes. Mostly it is the vehicle; if it happens"
            " with each one, look at the terminals.",
            Severity.INFO,
            Severity.INFO,
            "15m",
        ),
        Alert(
            "CclOverCurrent",
            """max without (phase) (last_over_time(ccl_plug_current_amperes[2m]))
  > ignoring ()
    (1.1 * (ccl_plug_current_limit_amperes or ignoring () ccl_plug_current_max_amperes) + 0.5)""",
            f"{PLUG}: the vehicle draws more than it may, {{{{ $value | humanize }}}} A.",
            "That is more than 1.1 times the limit, for 2 minutes. The vehicle ignores the limit, or the charger does."
            f" {command('charge stop')} ends the session.",
            Severity.CRITICAL,
            Severity.CRITICAL,
            "2m",
        ),
        Alert(
            "CclVoltageOutOfRange",
            """last_over_time(ccl_plug_voltage_volts[3m]) > 253
  or (last_over_time(ccl_plug_voltage_volts[3m]) < 207 and ignoring () last_over_time(ccl_plug_voltage_volts[3m]) >= 50)""",
            f"{PLUG}: the voltage{{{{ with $labels.phase }}}} of {{{{ toUpper . }}}}{{{{ end }}}} is"
            " {{ $value | humanize }} V.",
            "It has been outside 207 to 253 V for 5 minutes. Low during a session means a thin or loose line: lower the"
            f" limit with {command('charge limit 50%')}. A high one is a matter for the grid's operator.",
            Severity.WARNING,
            Severity.WARNING,
            "5m",
        ),
    ),
)

REGISTERS = Group(
    "ccl-registers",
    (
        Alert(
            "CclRegisterReset",
            "resets(ccl_plug_energy_joules_total[1h]) > 0",
            f"{PLUG}: its energy register fell.",
            "The meter was exchanged, or lost its memory, in the last hour. `increase()` over that moment is wrong; the"
            " recorded energy and `ccl-exporter charge log` are not.",
            Severity.WARNING,
            Severity.WARNING,
        ),
        Alert(
            "CclRegisterJump",
            """(last_over_time(ccl_plug_energy_joules_total[2m])
    - ignoring () last_over_time(ccl_plug_energy_joules_total[2m] offset 10m)) / 3.6e6
  > ignoring ()
    (1.25 * 0.2 * 0.264 * (
          ccl_plug_current_max_amperes * ignoring () count without (phase) (ccl_plug_voltage_volts)
        or ignoring ()
          63 * 3 * ccl_plug_energy_joules_total ^ 0))""",
            f"{PLUG}: its energy register jumped.",
            'It grew by {{ printf "%.1f" $value }} kWh in 10 minutes, more than the plug can deliver. Energy and cost'
            " of this day are too high by it; `ccl-exporter charge log` shows the sessions.",
            Severity.WARNING,
            Severity.WARNING,
            why="At most 12 minutes at 264 V and the highest current of all phases; 63 A and three phases where nothing"
            " is known.",
        ),
        Alert(
            "CclReadingsRejected",
            "increase(ccl_rejected_readings_total[1h]) > 0",
            f"{CHARGER}: implausible values of {{{{ $labels.variable }}}} were rejected.",
            'About {{ printf "%.0f" $value }} in an hour; the reason is "{{ $labels.reason }}". A few are a glitch and'
            f" do no harm. {command('show {{ $labels.variable }}')} shows the value now.",
            Severity.INFO,
            Severity.INFO,
        ),
        Alert(
            "CclMetersDisagree",
            "abs(avg_over_time(ccl_plug_meter_difference_joules[10m])) / 3.6e6 > 0.5",
            f"{PLUG}: its two registers disagree.",
            'The plug\'s register and chargeInfo differ by {{ printf "%.1f" $value }} kWh: one of them has another unit'
            f" or another meter. Do not bill before you know which. {command('check')} shows both.",
            Severity.WARNING,
            Severity.WARNING,
            "10m",
        ),
    ),
)
