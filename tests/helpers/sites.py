"""Made-up PowerStudio sites: what is true of one, how its engine speaks, and what goes wrong at first.

Everything is drawn from one seed. It shares no code with the exporter or its simulator: two readers of the same
protocol that agree are worth more than one that agrees with itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

Unit = tuple[str, int] | None


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


KNOWN: Mapping[str, Mapping[str, Unit]] = {
    "CVM1D": {
        **dict.fromkeys(("AE", "AEB", "AEE", "NAE"), ("#WH", 3)),
        "IE": ("#VARLH", 3),
        "CE": ("#VARCH", 3),
        "API": ("#W", 3),
        "IPI": ("#VARL", 3),
        "VAI": ("#VA", 3),
        "AI": ("#A", 0),
        "VI": ("#V", 0),
        "VMX": ("#V", 0),
        "PFI": ("#PF", 0),
        "PFMN": ("#PF", 0),
    },
    "CCL1ENGINE": {
        "PLUG.AE": ("#WH", 3),
        "PLUG.AEP": ("#WH", 3),
        "PLUG.API": ("#W", 3),
        "PLUG.VI": ("#V", 0),
        "PLUG.CREDITS": None,
        "RUNTIME": ("#DATETIME", 0),
        "ERROR": None,
    },
    "MODO3": {
        "INTENSITY": ("#A", 0),
        "RCCC": ("#A", 0),
        "PREDUCTION": ("#PERCENT", 0),
        "OUT_OF_SERVICE": None,
        "APILOT": None,
    },
    "CCL1MINIEMBEDDED": {"TCI": ("°C", 0), "TFI": ("°F", 0), "RUNTIME": ("#DATETIME", 0), "DI1": None},
    "TAGREADER": {"BUZZER": None, "VDTTM": ("#DATETIME", 0)},
    "DISPLAYCCL1MINI": {"BACKLIGHT": None, "VDTTM": ("#DATETIME", 0)},
}
"""Variables of the vendor's devices whose unit is known without varInfo (protocol 9)."""

_UNITS = _words(
    "#V|#A|#VA|#W|#VAR|#VARL|#VARC|#PF|#HZ|#PERCENT|#WH|#WH|#VARH|#VARLH|#VARCH|#VAH|#SECONDS|#HOURS|#DEGREES|"
    "#MONETARY|#QUUX|#C|#NONE|KgCO2|m³/h"
)
_NAMES = _words(
    "EVSE|Plug - Meter|Plug - Mode 3|CVM.1|a.b.c|Zähler Süd|電表 3|R&D|Why?|A+B|#7|50%|%41|100%25|'x'|"
    'the "big" one|Sen\u0303or|a/b=c;d|<b>|back\\slash|R$SYS|⚡️|{x}|dot.|.hidden|two  blanks|~-_|PLUG|Mod2'
)
_LASTS = _words(
    "X1|Pressure bar|THD V1|ÄÖ|a&b|c?d|e+f|g=h|50%|P#1|名|LASTDATE|PEAK|Q|KEYPAD_STATE|ERROR_CODE|BYPASS|"
    "LIQUID_FLOW"
)
VENDOR_LASTS = _words("AE|NAE|API|VI|STATE|ERROR|VMX|IEB")
PERSONAL = _words(
    "TAG|TAG_EX|userName|CARDNO|Rfid|RESERVE|RESERVE_EX|PIN|SERIAL|lastTag2|WIFI_KEY|wifiKey|WIFIPASSWORD|SECURKEY|"
    "ACCESSCODE|EVCCID|emaId|EMAID1|VIN|IDENTITY|ICCID|macAddr|MAC|ssid|PHONE1|E_MAIL|CONTRACT_ID|clientId|SN|UID|"
    "FIRST_NAME|USER1|TEXT|KEYPAD1"
)
_TITLES = _words('Voltage|He said "1"|two\nlines|⚡ 5 µs|back\\slash\\n|a=b, {c}|テスト|r\rx\tz|')
_DATES = (883_612_800, 946_684_800, 1_633_452_620, 1_790_000_000, 2_061_158_399)
_STATUSES = (*[1.0] * 12, 34.0, 1282.0, 0.0, None)


@dataclass
class Variable:
    """One variable: what is true of it, and what varInfo says of it; `value` is the wire's number, text or date.

    `unit` and `factor` None are elements that are not sent, `described` False is no entry at all.
    `measured` is the unit in truth, which varInfo may keep to itself.
    """

    name: str
    kind: str = "number"
    value: float | str | None = 0.0
    unit: str | None = None
    factor: int | None = 0
    has_value: bool = True
    writable: bool = False
    sample_mode: str = "last"
    title: str = ""
    described: bool = True
    digits: int = 14
    moves: bool = False
    measured: str | None = None


@dataclass
class Device:
    """One device; `type` None is an element that is not sent."""

    id: str
    type: str | None
    serial: str
    variables: list[Variable] = field(default_factory=list)

    def variable(self, name: str) -> Variable | None:
        return next((variable for variable in self.variables if variable.name == name), None)


@dataclass
class Plug:
    """A socket as chargePointsInterface describes it, element by element; `moves` if only these documents do."""

    name: str
    moves: bool
    info: dict[str, str]
    state: dict[str, str]
    charge: dict[str, str]


@dataclass(frozen=True)
class Dialect:
    """How an engine answers. `absent` holds parts of paths that answer `absent_code`.

    `many` is what becomes of several parameters where `separators` has none: the first, none, or one long name.
    `nothing` is how no value is written, `short` what varInfo by id has for an id.
    """

    separators: str = "&?"
    many: str = "literal"
    absent: frozenset[str] = frozenset()
    absent_code: int = 404
    values_by_id: bool = True
    var_info_by_id: bool = True
    var_info_by_var: bool = True
    id_ex: bool = True
    short: str = "name"
    swapped_info: bool = False
    typed: bool = False
    nothing: str = "dash"
    hidden_numbers: bool = True
    plain_numbers: bool = False
    declaration: bool = True
    bom: bool = False
    indent: bool = False
    padded: bool = False
    strangers: bool = False
    framing: str = "length"

    def has(self, document: str) -> bool:
        return document not in self.absent


@dataclass(frozen=True)
class Failure:
    """What is wrong with the answers to targets that contain `part`, in reads up to the `last` one."""

    part: str
    kind: str
    last: int


@dataclass
class Site:
    """One charger, or any other PowerStudio engine; `secrets` are what must never be published."""

    seed: int
    dialect: Dialect
    failures: tuple[Failure, ...]
    devices: list[Device] = field(default_factory=list)
    plugs: list[Plug] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    def move(self, random: Random) -> None:
        """Time goes by: values change, come and go, devices fall silent and return."""
        for device in self.devices:
            for variable in device.variables:
                if variable.name == "STATUS" and random.random() < 0.1:
                    variable.value = random.choice(_STATUSES)
                elif variable.moves and random.random() < 0.4:
                    variable.value = _number(random, variable.measured)
        for plug in self.plugs:
            if plug.moves:
                plug.state["locked"] = random.choice("TF")
                plug.charge["chargeTime"] = str(random.randrange(10**6))


def _number(random: Random, unit: str | None) -> float | None:
    if random.random() < 0.08:
        return None
    if unit == "#PF":
        return random.choice((2.55, round(random.uniform(-1, 1), 3), 1.0, -1.0))
    size = random.choice((1.0, 300.0, 5000.0, 1e9))
    lowest = -size if unit is None or not unit.endswith("H") or random.random() < 0.05 else 0.0
    return random.choice((round(random.uniform(lowest, size), random.choice((0, 2, 6))), 0.0, 1.0))


def _date(random: Random) -> Variable:
    unit = random.choice((None, "#DATETIME"))
    value = random.choice((*_DATES, None)) if random.random() < 0.3 else random.randrange(946_684_800, 2**31)
    digits = random.choice((14, 14, 17)) if unit is None else random.choice((14, 17, 8))
    if digits == 8 and value is not None:
        value -= value % 86_400
    return Variable("", "date", value, unit, random.choice((0, None)) if unit is None else 0, digits=digits)


def _drawn_variable(random: Random, name: str, known: Unit | str) -> Variable:
    """A variable of this name; `known` is its unit in the vendor's devices, "" if it is none of theirs."""
    dice = random.random()
    if known == ("#DATETIME", 0) or (known == "" and dice < 0.12):
        variable = _date(random)
    elif known == "" and dice < 0.2:
        variable = Variable("", "text", random.choice(("", "-", "12", "01012020000000", "A b", "0.000000")))
    else:
        unit, factor = random.choice(_UNITS), random.choice((0, 3, 3, -3, None))
        if isinstance(known, tuple):
            unit, factor = known
            if unit[0] != "#" or random.random() < 0.5:
                unit, factor = "", random.choice((0, None))
            elif random.random() < 0.2:
                unit, factor = random.choice(((unit, 0), (unit, None), ("#QUUX", 0), ("KgCO2", 3)))
        elif known is None or random.random() < 0.25:
            unit, factor = "", random.choice((0, None))
        measured = known[0] if isinstance(known, tuple) and unit != "KgCO2" else unit
        variable = Variable("", value=_number(random, measured), unit=unit or None, moves=True, measured=measured)
        variable.factor = 0 if unit == "#PF" else factor
    variable.name = name
    variable.has_value = random.random() > 0.1
    variable.writable = random.random() < 0.2
    variable.sample_mode = random.choice(("none", "last", "average", "max", "first"))
    if random.random() < 0.3 and not name.endswith(("B", "E")):
        variable.sample_mode = "differential"
    variable.title = random.choice(_TITLES)
    variable.described = random.random() > 0.04
    return variable


def _device_names(random: Random) -> list[str]:
    names: list[str] = []
    for _ in range(random.choice((1, 1, 2, 2, 3, 3, 4, 6, 8))):
        name = random.choice(_NAMES)
        if names and random.random() < 0.4:
            name = random.choice(names) + random.choice((" 2", ".PLUG", "-", ".Mod2", "x"))
        if random.random() < 0.05:
            name = (name * 200)[: random.choice((190, 200))].strip()
        if name not in names:
            names.append(name)
    return names


def _fill(random: Random, site: Site, device: Device, taken: set[str], names: Sequence[str], most: int) -> None:
    """Give a device its variables, none of which another reader could take for another device's."""

    def add(variable: Variable) -> None:
        full = f"{device.id}.{variable.name}"
        owners = [name for name in names if full.startswith(f"{name}.")]
        if full not in taken and max(owners, key=len) == device.id:
            taken.add(full)
            device.variables.append(variable)

    known = KNOWN.get(device.type or "", {})
    for name, unit in known.items():
        if random.random() < 0.6:
            add(_drawn_variable(random, name, unit))
    subs = [f"{sub}." for sub in random.sample(("PLUG", "Mod2", "Mod 3", device.id, *names), 2)]
    for _ in range(random.randrange(most)):
        # A vendor's device that gives its own names another meaning would be wrong by its own doing.
        last = random.choice(_LASTS if known else (*_LASTS, *VENDOR_LASTS))
        last += str(random.randrange(30)) if random.random() < 0.5 else ""
        variable = _drawn_variable(random, random.choice(("", "", *subs)) + last, "")
        if variable.kind == "text" and random.random() < 0.5:
            variable.value = f"Anna{random.randrange(10**10)}"
            site.secrets.append(variable.value)
        add(variable)
    if random.random() < 0.85 or (not device.variables and device.id == names[0]):
        add(Variable("STATUS", value=random.choice(_STATUSES)))
    for sub in subs:
        if random.random() < 0.3 and any(variable.name.startswith(sub) for variable in device.variables):
            add(Variable(f"{sub}STATUS", value=random.choice(_STATUSES)))
    for name in random.sample(PERSONAL, random.choice((0, 1, 3, 5))):
        secret = str(random.randrange(10**10, 10**11))
        site.secrets.append(secret)
        number = random.random() < 0.5
        value: float | str = float(secret) if number else f"id-{secret}"
        add(Variable(random.choice(("", *subs)) + name, "number" if number else "text", value))
    random.shuffle(device.variables)


def _drawn_plug(random: Random, site: Site, device: Device, number: int) -> Plug:
    """A plug of an engine, whose own variables agree with the documents; `EVSE.PLUG`, or any other name."""
    name = f"{device.id}.PLUG{number or ''}"
    user = f"user-{random.randrange(10**10)}"
    site.secrets.append(user)
    state, connected = random.choice((-2, -1, 0, 2, 8, 12, 77)), random.choice("TF")
    wh = round(random.uniform(0, 9e6), 1)
    has_own = device.type == "CCL1ENGINE" and random.random() < 0.6
    prefix = name[len(device.id) + 1 :]
    device.variables = [
        variable for variable in device.variables if variable.name not in (f"{prefix}.AE", f"{prefix}.STATE")
    ]
    if has_own:
        for last, value in (("STATE", float(state)), ("CC", float(connected == "T"))):
            device.variables.append(Variable(f"{prefix}.{last}", value=value))
        device.variables.append(
            Variable(f"{prefix}.AE", value=wh / 1000, unit="#WH", factor=3, sample_mode="differential")
        )
    seconds = [random.choice((-1.0, round(random.uniform(9e8, 2e9), 3))) for _ in range(3)]
    if random.random() < 0.5:  # dates of one session
        seconds[1:] = [seconds[0] + 30, seconds[0] + round(random.uniform(60, 10**6), 3)]
    common = {"id": f"G.{number}", "name": name, "number": str(number + 1)}
    info = {"chargeMode": "3", "supportedCurrent": random.choice(("32", "16.0", "-", "0")), "EVCommDevice": "-"}
    values = {"state": str(state), "error": "0", "vehicleConnected": connected, "locked": random.choice("TF")}
    return Plug(
        name,
        not has_own,
        {**common, **info, "hasCover": "F", "hasLock": "T", "meter": "-"},
        {**common, **values},
        {
            **common,
            "chargeId": user,
            "state": str(state),
            "user": user,
            "activeEnergy": f"{wh:.6f}",
            "partialActiveEnergy": random.choice(("-1", f"{random.uniform(0, 9e4):.6f}")),
            **dict(zip(("requestDate", "beginDate", "endDate"), (f"{at:.6f}" for at in seconds), strict=True)),
            "chargeTime": random.choice(("-1", str(random.randrange(10**6)))),
            "stopped": random.choice(("0", "4", "99")),
        },
    )


def _drawn_dialect(random: Random) -> Dialect:
    def seldom(p: float = 0.2) -> bool:
        return random.random() < p

    optional = _words("plugInfo|plugState|chargeInfo|status|information")
    absent = {name for name in optional if seldom(0.35)}
    absent |= set(random.choice(((), (), ("user/deviceInfo",), ("interface/deviceInfo",), ("deviceInfo",))))
    absent |= set(random.choice(((), (), ("user/devices",), ("interface/devices",))))
    absent |= set(random.choice(((), (), (), ("values",), ("deviceState",))))
    values_by_id = not seldom(0.4)
    if "deviceState" in absent and "deviceInfo" in absent:
        values_by_id = True
    if seldom(0.15):
        absent.add("varInfo")
    id_ex = not seldom(0.3)
    by_id = not seldom(0.4)
    return Dialect(
        separators=random.choice(("&?", "&", "?", "")),
        many=random.choice(("first", "none", "literal")),
        absent=frozenset(absent),
        absent_code=random.choice((404, 404, 400, 410, 501)),
        values_by_id=values_by_id,
        var_info_by_id=by_id,
        # Without full names some variables can be distinguished only if each is requested by its own.
        var_info_by_var=not (by_id and id_ex and seldom(0.3)),
        id_ex=id_ex,
        short=random.choice(("name", "name", "last", "full")),
        swapped_info=seldom(),
        typed=seldom(0.4),
        nothing=random.choice(("dash", "missing", "empty", "nan")),
        hidden_numbers=not seldom(0.4),
        plain_numbers=seldom(),
        declaration=not seldom(),
        bom=seldom(),
        indent=seldom(),
        padded=seldom(),
        strangers=seldom(),
        framing=random.choice(("length", "length", "close", "chunked")),
    )


_KINDS = ("status-500", "status-503", "garbled", "truncated", "close", "cut", "slow", "html", "empty")
_PARTS = _words(
    "devices.xml|deviceInfo|varInfo|varInfo.xml?id|values|values.xml?id|deviceState|plugInfo|plugState|"
    "chargeInfo|status|information|.xml"
)


def drawn_site(seed: int) -> Site:
    """The site of a seed."""
    random = Random(seed)
    dialect = _drawn_dialect(random)
    failures = [
        Failure(random.choice(_PARTS), random.choice(_KINDS), random.choice((1, 1, 2, 3)))
        for _ in range(random.choice((0, 0, 0, 1, 1, 2, 3)))
    ]
    site = Site(seed, dialect, tuple(failures))
    names, taken = _device_names(random), set[str]()
    by_name_only = not dialect.values_by_id and not dialect.has("deviceState")
    most = random.choice((2, 8, 8, 20, 60)) if not by_name_only else 8
    for name in names:
        kind = random.choice((*KNOWN, "CCL1ENGINE", "CVM1D", "FOO-9", None))
        serial = f"SN{random.randrange(10**10)}"
        site.secrets.append(serial)
        device = Device(name, kind, serial)
        _fill(random, site, device, taken, names, most)
        site.devices.append(device)
    hosts = [device for device in site.devices if not any(name.startswith(f"{device.id}.PLUG") for name in names)]
    if hosts and random.random() < 0.6:
        host = next((device for device in hosts if device.type == "CCL1ENGINE"), hosts[0])
        site.plugs = [_drawn_plug(random, site, host, number) for number in range(random.choice((1, 1, 2)))]
    return site
