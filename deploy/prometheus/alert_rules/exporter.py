"""Alerts about the exporter itself, its queues and its broker."""

from alert_rules.model import Alert, Group, Severity
from alert_rules.words import CHARGER

_LOG = "The exporter's log names the error: `journalctl -u ccl-exporter`."

EXPORTER = Group(
    "ccl-monitoring",
    (
        Alert(
            "CclExporterDown",
            """up{job="ccl-exporter"} == 0
  or (up{job="evse"} == 0 unless on (exporter) up{job="ccl-exporter"})""",
            f"{CHARGER}: the exporter does not answer Prometheus.",
            "It has not answered for 5 minutes. Its chargers are not read, and no database and no broker get readings."
            " Look at the service on its machine: `systemctl status ccl-exporter`.",
            Severity.WARNING,
            Severity.CRITICAL,
            "5m",
            "Without a job ccl-exporter the charger's own target is the exporter.",
        ),
        Alert(
            "CclNothingRead",
            "absent(ccl_up)",
            "No charger is read.",
            "There has been no ccl_up for 15 minutes: Prometheus has no charger as a target, or none of them answers"
            " it. Look at the targets of Prometheus, and at `/sd` of the exporter.",
            Severity.WARNING,
            Severity.CRITICAL,
            "15m",
        ),
        Alert(
            "CclConfigurationRejected",
            "ccl_exporter_config_last_reload_successful == 0",
            f"{CHARGER}: the exporter's configuration file is invalid.",
            "The exporter runs with the configuration before."
            " `ccl-exporter serve --config.file FILE --config.check` names each error with its line.",
            Severity.WARNING,
            Severity.WARNING,
            "5m",
        ),
        Alert(
            "CclWorkerDown",
            "max_over_time(ccl_exporter_worker_up[5m]) == 0",
            f"{CHARGER}: the part {{{{ $labels.worker }}}} of the exporter does not work.",
            f"It has failed for 10 minutes, and each restart of it too. {_LOG}",
            Severity.WARNING,
            Severity.CRITICAL,
            "5m",
        ),
        Alert(
            "CclRestartLoop",
            """increase(ccl_exporter_worker_restarts_total[1h]) > 10
  or changes(process_start_time_seconds{job="ccl-exporter"}[1h]) > 3""",
            f"{CHARGER}: {{{{ with $labels.worker }}}}the part {{{{ . }}}} of the exporter{{{{ else }}}}the exporter"
            "{{ end }} restarts again and again.",
            f'It was restarted {{{{ printf "%.0f" $value }}}} times in an hour. {_LOG}',
            Severity.WARNING,
            Severity.CRITICAL,
        ),
        Alert(
            "CclPushBacklog",
            "time() - ccl_influxdb_spool_oldest_timestamp_seconds > 900",
            f"{CHARGER}: the database {{{{ $labels.sink }}}} accepts no readings.",
            "The oldest reading that waits is {{ $value | humanizeDuration }} old. Nothing is lost yet."
            f" Look at the database, its token and its disk. {_LOG}",
            Severity.WARNING,
            Severity.WARNING,
            "10m",
        ),
        Alert(
            "CclQueueNearBound",
            """ccl_influxdb_spool_bytes / ignoring () ccl_influxdb_spool_max_bytes > 0.8
  or ignoring ()
    (time() - ccl_influxdb_spool_oldest_timestamp_seconds)
      / ignoring () ccl_influxdb_spool_retention_seconds > 0.8""",
            f"{CHARGER}: the queue for the database {{{{ $labels.sink }}}} is nearly full.",
            "It has {{ $value | humanizePercentage }} of the size or the age that it may have; beyond that the oldest"
            " readings are lost. Get the database to accept readings, or raise `max_bytes` and `max_age` of its `spool`.",
            Severity.WARNING,
            Severity.CRITICAL,
            "5m",
        ),
        Alert(
            "CclQueueDamaged",
            """last_over_time(ccl_influxdb_spool_damaged_total[5m])
  > ignoring ()
    (last_over_time(ccl_influxdb_spool_damaged_total[5m] offset 1d)
      or ignoring () 0 * last_over_time(ccl_influxdb_spool_damaged_total[5m]))""",
            f"{CHARGER}: the queue file for the database {{{{ $labels.sink }}}} was damaged.",
            "It was set aside in the state folder in the last 24 hours, and a new one was begun. Readings in it"
            " that could not be read are lost. Check the disk and the free space.",
            Severity.WARNING,
            Severity.WARNING,
            why="A file is found damaged when the exporter starts, so its counter may begin with 1.",
        ),
        Alert(
            "CclPushLosing",
            """increase(ccl_influxdb_dropped_points_total[15m]) > 0
  or increase(ccl_influxdb_rejected_points_total[15m]) > 0""",
            f"{CHARGER}: readings for the database {{{{ $labels.sink }}}} are lost.",
            "About {{ $value | humanize }} points were dropped or rejected in 15 minutes: the queue is full, or the"
            f" database rejects their content. {_LOG}",
            Severity.WARNING,
            Severity.CRITICAL,
        ),
        Alert(
            "CclReadingsMissed",
            """increase(ccl_influxdb_missed_readings_total[1h]) > 5
  or increase(ccl_mqtt_missed_readings_total[1h]) > 5""",
            f"{CHARGER}: readings for {{{{ with $labels.sink }}}}the database {{{{ . }}}}{{{{ else }}}}the MQTT broker"
            "{{ end }} are missed.",
            'About {{ printf "%.0f" $value }} readings were not taken in time in the last hour: chargers answer more'
            " slowly than `interval` asks. Raise it, or read less with `modules: [core]`.",
            Severity.INFO,
            Severity.WARNING,
        ),
        Alert(
            "CclBrokerAway",
            "max_over_time(ccl_mqtt_connected[5m]) == 0",
            f"{CHARGER}: no connection to the MQTT broker.",
            f"There has been none for 10 minutes. Look at the broker and its login. {_LOG}",
            Severity.WARNING,
            Severity.WARNING,
            "5m",
        ),
    ),
)
