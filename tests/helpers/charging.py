"""A charger with two plugs as snapshots: what its registers and chargeInfo say at a moment that a test chooses."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ccl_exporter.powerstudio.inventory import Device, Inventory, PlugInfo, VariableInfo
from ccl_exporter.powerstudio.snapshot import ChargeRecord, Moment, Snapshot, Value

PLUG, OTHER = "EVSE.PLUG", "EVSE.PLUG_B"
PLUGS = (PLUG, OTHER)
START = 1_790_000_000.0
INVENTORY = Inventory(
    devices=(
        Device(
            "EVSE",
            "CCL1ENGINE",
            "",
            (
                *(f"{plug}.{name}" for plug in PLUGS for name in ("AE", "API")),
                *("EVSE.STATUS", "EVSE.VDTTM"),
            ),
        ),
    ),
    variables={
        **{f"{plug}.AE": VariableInfo(unit="#WH", factor=3) for plug in PLUGS},
        **{f"{plug}.API": VariableInfo(unit="#W", factor=3) for plug in PLUGS},
    },
    plugs=tuple(PlugInfo(plug, supported_amperes=32.0) for plug in PLUGS),
)


@dataclass
class Station:
    """Registers in watt-hours and the charge of each plug; the time of the next reading in Unix seconds."""

    at: float = START
    registers: dict[str, float] = field(default_factory=lambda: {PLUG: 4_855_390.0, OTHER: 1000.0})
    watts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PLUGS, 0.0))
    charges: dict[str, ChargeRecord] = field(
        default_factory=lambda: {plug: ChargeRecord(plug, state=0) for plug in PLUGS}
    )

    def request(self, plug: str = PLUG) -> None:
        self.charges[plug] = ChargeRecord(plug, state=6, watt_hours=0.0, requested=self.at, stop_reason=0)

    def begin(self, plug: str = PLUG) -> None:
        self.request(plug)
        self.at += 5
        self.charges[plug] = replace(self.charges[plug], state=8, begun=self.at, seconds=0.0)

    def flow(self, watts: float, seconds: float, plug: str = PLUG) -> None:
        """Let a power flow, by the charge if one runs."""
        self.at += seconds
        self.watts[plug] = watts
        self.registers[plug] += watts * seconds / 3600
        charge = self.charges[plug]
        if charge.begun and not charge.ended:
            energy = (charge.watt_hours or 0.0) + watts * seconds / 3600
            self.charges[plug] = replace(charge, watt_hours=energy, seconds=self.at - charge.begun)

    def end(self, reason: int = 4, plug: str = PLUG) -> None:
        self.watts[plug] = 0.0
        self.charges[plug] = replace(self.charges[plug], state=12, ended=self.at, stop_reason=reason)

    def charge(self, watts: float, seconds: float, plug: str = PLUG) -> None:
        self.begin(plug)
        self.flow(watts, seconds, plug)
        self.end(plug=plug)

    def read(self, **values: Value) -> Snapshot:
        """A reading at this moment, with other values if some are given (`PLUG_AE=None`)."""
        self.at += 1
        found: dict[str, Value] = {"EVSE.STATUS": 1.0, "EVSE.VDTTM": Moment(self.at)}
        for plug in PLUGS:
            found[f"{plug}.AE"] = self.registers[plug] / 1000
            found[f"{plug}.API"] = self.watts[plug] / 1000
        found |= {f"EVSE.{name.replace('_AE', '.AE')}": value for name, value in values.items()}
        return Snapshot(
            taken=self.at,
            seconds=0.1,
            timeout=10,
            requests=1,
            up=True,
            inventory=INVENTORY,
            answered=frozenset({"EVSE"}),
            values={name: value for name, value in found.items() if value is not None},
            charges=self.charge_records(),
        )

    def charge_records(self) -> Mapping[str, ChargeRecord]:
        return {
            plug: replace(charge, meter_watt_hours=self.registers[plug]) for plug, charge in self.charges.items()
        }
