"""Alerts about a charger as a whole, and the availability that only a fleet counts."""

from alert_rules.model import Alert, Group, Recording, Severity
from alert_rules.words import CHARGER, PLUG, command, fault, fault_step
from ccl_exporter.metrics import families as f

_OWN_ALERT = ("rcd", "temperature")

CHARGERS = Group(
    "ccl-chargers",
    (
        Alert(
            "CclChargerUnreachable",
            """avg_over_time(ccl_up[5m]) < 0.2
  or (avg_over_time(up{job="evse"}[5m]) < 0.2 and on (exporter) up{job="ccl-exporter"} == 1)""",
            f"{CHARGER}: the charger does not answer.",
            "It answered {{ $value | humanizePercentage }} of the reads of the last 5 minutes. It is switched off, has"
            f" another address, or is in another subnet. {command('check')} says which.",
            Severity.WARNING,
            Severity.CRITICAL,
            "5m",
            "The second half is for --web.fail-on-down, which leaves no ccl_up.",
        ),
        Alert(
            "CclReadingPartial",
            """avg_over_time(ccl_scrape_document_success[15m]) < 0.5
  and on (job, instance) avg_over_time(ccl_up[15m]) > 0.5""",
            f"{CHARGER}: the charger answers, but not all of its endpoints do.",
            "{{ $labels.document }} was complete in {{ $value | humanizePercentage }} of the reads of the last 15"
            f" minutes, so some metrics are old or missing. {command('check')} says why.",
            Severity.INFO,
            Severity.INFO,
            "1h",
            "Endpoints that are seldom asked for stay failed for half an hour after a single failure.",
        ),
        Alert(
            "CclDeviceDown",
            """max_over_time(ccl_device_up[10m]) == 0
  and on (job, instance) min_over_time(ccl_up[10m]) == 1""",
            f"{CHARGER}: the device {{{{ $labels.device }}}} in the charger does not answer.",
            "The charger answers, but has had no contact with this part of it for 15 minutes, so its values are"
            f" missing. {command('check')} shows its status. Switch the charger off and on; if it stays, its wiring or"
            " the part is broken.",
            Severity.WARNING,
            Severity.WARNING,
            "5m",
        ),
        Alert(
            "CclActiveEvents",
            "min_over_time(ccl_station_active_events[10m]) > 0",
            f'{CHARGER}: the charger reports {{{{ printf "%.0f" $value }}}} active event'
            "{{ if ne $value 1.0 }}s{{ end }}.",
            "They have been active for 15 minutes. The charger's own web page names them, in its list of events.",
            Severity.INFO,
            Severity.INFO,
            "5m",
        ),
        Alert(
            "CclReadingSlow",
            """avg_over_time(ccl_scrape_duration_seconds[10m])
  / ignoring () avg_over_time(ccl_scrape_timeout_seconds[10m]) > 0.8
  and on (job, instance) avg_over_time(ccl_up[10m]) > 0.5""",
            f"{CHARGER}: the charger is nearly too slow to be read.",
            "A read takes {{ $value | humanizePercentage }} of the time that is allowed. Raise `scrape_timeout`, read"
            " less with `module=core`, or scrape less often.",
            Severity.INFO,
            Severity.INFO,
            "30m",
        ),
        Alert(
            "CclClockWrong",
            "abs(ccl_station_clock_timestamp_seconds"
            " - ignoring () timestamp(ccl_station_clock_timestamp_seconds)) > 300",
            f"{CHARGER}: the charger's clock is {{{{ $value | humanizeDuration }}}} off.",
            "The times of its sessions are wrong by as much, and so is its own schedule. Set its clock on the"
            " charger's own web page.",
            Severity.INFO,
            Severity.INFO,
            "30m",
        ),
        Alert(
            "CclStationFault",
            f'max_over_time(ccl_station_error{{ccl_station_error!~"{"|".join(_OWN_ALERT)}"}}[2m]) == 1',
            f"{CHARGER}: the charger reports a fault: {fault(f.STATION_ERROR.name)}.",
            f"The fault is one of the whole charger, not of a plug. {command('show EVSE')} shows its values."
            f" {fault_step(f.STATION_ERROR.name, _OWN_ALERT)}",
            Severity.CRITICAL,
            Severity.CRITICAL,
            "2m",
        ),
        Alert(
            "CclBoardHot",
            "min_over_time(ccl_station_temperature_celsius[5m]) > 70",
            f"{CHARGER}: the charger's board is hot, {{{{ $value | humanize }}}} °C.",
            "It has been so for 10 minutes; 30 to 50 °C are normal. Look for sun, a blocked vent, a loose terminal."
            f" A lower limit helps: {command('charge limit 50%')}.",
            Severity.WARNING,
            Severity.WARNING,
            "5m",
        ),
    ),
)

AVAILABILITY = (
    Group(
        "ccl-plugs-seen",
        (
            Recording(
                "plug:ccl_plug_status:seen",
                "group without (ccl_plug_status) (last_over_time(ccl_plug_status[30m]))",
                "The plugs that were ever seen: one that cannot be reached counts as not available, so it must be"
                " remembered.",
            ),
        ),
        "30m",
    ),
    Group(
        "ccl-availability",
        (
            Recording(
                "plug:ccl_plug_available:bool",
                """(
    max without (ccl_plug_status) (
      ccl_plug_status{ccl_plug_status!~"outoforder|inoperative|unknown", planned_outage=""})
  or ignoring ()
    0 * (last_over_time(plug:ccl_plug_status:seen{planned_outage=""}[35d]) and ignoring (plug) up)
) * on () group_left (month) calendar:month:info""",
                "1 while a plug can be used or is in use, 0 while it cannot or does not answer; none during a planned"
                " outage.",
            ),
        ),
    ),
    Group(
        "ccl-availability-five-minutes",
        (
            Recording(
                "plug:ccl_plug_available:sum5m",
                "sum_over_time(plug:ccl_plug_available:bool[5m])",
                "Minutes in which a plug was available, of the last five.",
            ),
            Recording(
                "plug:ccl_plug_available:count5m",
                "count_over_time(plug:ccl_plug_available:bool[5m])",
                "Minutes that count, of the last five.",
            ),
        ),
        "5m",
    ),
    Group(
        "ccl-availability-months",
        (
            Recording(
                "plug:ccl_plug_available:ratio_month",
                """sum_over_time(plug:ccl_plug_available:sum5m[32d])
  / ignoring () sum_over_time(plug:ccl_plug_available:count5m[32d])
  and on (month) last_over_time(calendar:month:info[2h])""",
                "Minutes in which the plug was available, of the minutes that count. A month is evaluated once more"
                " after its end.",
            ),
            Recording(
                "plug:ccl_plug_available:ratio30d",
                """sum without (month) (sum_over_time(plug:ccl_plug_available:sum5m[30d]))
  / ignoring () sum without (month) (sum_over_time(plug:ccl_plug_available:count5m[30d]))""",
                "The same of the last 30 days.",
            ),
            Alert(
                "CclAvailabilityLow",
                """plug:ccl_plug_available:ratio30d < 0.97
  and on (job, instance, plug) sum without (month) (sum_over_time(plug:ccl_plug_available:count5m[30d])) > 10000""",
                f"{PLUG}: it was available for only {{{{ $value | humanizePercentage }}}} of the last 30 days.",
                "97 % are wanted. The Fleet board shows the faults and absences that add up to this.",
                None,
                Severity.INFO,
                why="A plug that is known for less than a week says nothing yet. Evaluated every hour.",
            ),
        ),
        "1h",
    ),
)

VULNERABLE = (
    'product=~"(?i).*circarlife.*", version=~"[0-3][.].*|4[.][0-2]([^0-9].*)?|4[.]3([.]0([^0-9].*)?|[^0-9.].*)?"'
)
"""Matchers of CirCarLife before 4.3.1 (CVE-2018-12634, CVE-2018-17918 and others), for the rules and the boards."""

FIRMWARE = Group(
    "ccl-firmware",
    (
        Alert(
            "CclFirmwareVulnerable",
            f"ccl_station_info{{{VULNERABLE}}}",
            f"{CHARGER}: the charger's software has published vulnerabilities.",
            "It runs {{ $labels.product }} {{ $labels.version }}, which is older than 4.3.1 (CVE-2018-12634 and"
            " others). Update it if the vendor lets you, and keep the charger in a network of its own, with the"
            " exporter as its only client.",
            Severity.INFO,
            Severity.INFO,
            "15m",
        ),
    ),
)
