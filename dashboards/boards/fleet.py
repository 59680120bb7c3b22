"""The exporter's names in PromQL, of the chargers that a label of /sd chooses."""

from boards.scraped import Scraped
from boards.templating import query_variable, text_variable
from boards.units import BY_URGENCY, FAULT_REASONS
from ccl_exporter.metrics import families as f

_GROUP = "$label=~`${group:regex}`"


class Fleet(Scraped):
    """The exporter's names, of the chargers that a label chooses."""

    station = f"{Scraped.station}, {_GROUP}"
    plug = station
    variables = (
        query_variable("prometheus", "job", "Job", "label_values(ccl_up, job)"),
        text_variable("label", "Label", "site", "A label that /sd gives to chargers; boards group by it."),
        query_variable(
            "prometheus",
            "group",
            "Its value",
            'label_values(ccl_up{job=~"$job"}, $label)',
            every=".*",
            description="Chargers without the label belong to all.",
        ),
        query_variable(
            "prometheus", "instance", "Instance", f'label_values(ccl_up{{job=~"$job", {_GROUP}}}, instance)'
        ),
        query_variable(
            "prometheus",
            "exporter",
            "Exporter",
            "label_values(ccl_exporter_build_info, instance)",
            description="Only for the last row: the exporter itself.",
        ),
    )

    def status(self) -> str:
        """The status of each plug as its number in units.BY_URGENCY, also of chargers that are not reachable.

        A charger that was never reached has a series without a plug.
        """
        terms = (
            f'{f.PLUG_STATUS.name}{{{f.PLUG_STATUS.name}="{word}", {self.plug}}} * {number}'
            for number, word in enumerate(BY_URGENCY)
        )
        plugs = self.or_not_reachable(self.summed(" or ".join(terms)), len(BY_URGENCY))
        chargers = f"max by (job, instance) ({self.down()}) + {len(BY_URGENCY)}"
        return f"{plugs} or ({chargers} unless on (job, instance) {self.seen()})"

    def reason_or_fault(self) -> str:
        """Why each plug does not charge as its number in units.REASONS_AND_FAULTS; of several faults the first.

        Nothing where it charges.
        """
        name, plugs = f.PLUG_ERROR.name, ", ".join(self.by)
        faults = " or ".join(
            f'({name}{{{name}="{word}", {self.plug}}} == 1) * {number}' for word, number in FAULT_REASONS.items()
        )
        several = f"(count by ({plugs}) ({self.of_plug(f.PLUG_ERROR)} == 1) > bool 1)"
        reason = self.code(f.PLUG_NOT_CHARGING, "not_charging")
        return f"(min by ({plugs}) ({faults}) + {several}) or {reason} != 0"


fleet = Fleet()
