"""A plan as systemd timers that call `charge start` and `charge disable`. Pure: names of files and their texts."""

from collections.abc import Mapping
from datetime import UTC, datetime

from ccl_exporter.control.plan.schedule import Plan

NAME = "ccl-charge-plan"

LOADED_WITHIN = 300.0
"""Seconds from now in which nothing is planned: a start that is over when systemd loads the timers never comes."""

_SERVICE = """\
[Unit]
Description=Charging plan: {says}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
DynamicUser=yes
User=ccl-exporter
StateDirectory=ccl-exporter
StateDirectoryMode=0700
{secrets}SuccessExitStatus=6 7
"""

_SECRETS = "LoadCredential=secrets:/etc/ccl-exporter/secrets\n"

_TIMER = """\
[Unit]
Description=Charging plan: {says}

[Timer]
{times}
AccuracySec=1s
Persistent={persistent}

[Install]
WantedBy=timers.target
"""


def units(plan: Plan, start: str, end: str, with_secrets: bool, name: str = NAME) -> Mapping[str, str]:
    """Files by name, which begins with `name`; `start` and `end` are the commands that begin and end a charge.

    An end that was missed while the machine slept is made up for, a start is not.
    With secrets they have those that a configuration file may name (deploy/README.md); without their folder a
    unit would fail.
    """
    files = {}
    secrets = _SECRETS if with_secrets else ""
    for word, command, side in (("start", start, 0), ("end", end, 1)):
        says = f"{word} of a charge"
        times = "\n".join(f"OnCalendar={_utc(block[side])}" for block in plan.blocks)
        persistent = "yes" if word == "end" else "no"
        files[f"{name}-{word}.service"] = _SERVICE.format(says=says, command=command, secrets=secrets)
        files[f"{name}-{word}.timer"] = _TIMER.format(says=says, times=times, persistent=persistent)
    return files


def _utc(at: float) -> str:
    return datetime.fromtimestamp(round(at), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
