"""Alerts about the commands that control a charger: `charge follow` and `charge plan`, which have ports of their own."""

from alert_rules.model import Alert, Group, Severity
from alert_rules.words import CHARGER, choice, command

_UNITS = "`journalctl -u 'ccl-charge-*'`"

CONTROL = Group(
    "ccl-control",
    (
        Alert(
            "CclFollowInputStale",
            'last_over_time(ccl_follow_reason{ccl_follow_reason=~"stale|implausible|contradiction"}[3m]) == 1',
            f"{CHARGER}: the input of charge follow "
            + choice(
                "$labels.ccl_follow_reason",
                {
                    '"stale"': "is stale",
                    '"implausible"': "is implausible",
                },
                "contradicts the charger's meter",
            )
            + ".",
            "The charger has had the safe current for 5 minutes. Look at what sends the input: the meter, its query or"
            f" its topic, and the sign and the unit. {_UNITS} names what is wrong.",
            Severity.WARNING,
            Severity.WARNING,
            "5m",
        ),
        Alert(
            "CclFollowBudgetUsed",
            'min_over_time(ccl_follow_reason{ccl_follow_reason="budget"}[5m]) == 1',
            f"{CHARGER}: charge follow has no writes left for this hour.",
            "The limit follows the input only where it must, until older writes are an hour old. An input that swings"
            " often needs a longer average, such as `--query 'METRIC[5m]'`.",
            Severity.INFO,
            Severity.INFO,
            "5m",
            "60 writes an hour, as they wear out the charger's memory.",
        ),
        Alert(
            "CclPlanNotFeasible",
            "max_over_time(ccl_plan_feasible[5m]) == 0",
            f"{CHARGER}: charge plan cannot charge what is needed by the deadline.",
            "The time that is left does not suffice, or the vehicle takes less power than planned."
            f" {command('charge start --now')} charges at once with the full current.",
            Severity.WARNING,
            Severity.WARNING,
            "10m",
        ),
    ),
)
