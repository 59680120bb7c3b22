"""How engines differ: what they answer, how they read a query, and how they write a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

Auth = Literal["none", "basic", "digest", "not-granted"]


@dataclass(frozen=True)
class Dialect:
    """One way of being an engine; the defaults are a friendly full one (protocol 6, 7 and 11.1).

    `absent` holds path prefixes that answer 404. `separators` are the characters that part parameters.
    `many` is what happens to a request with several: all are answered, the first one, or none of them.
    """

    separators: str = "&?"
    many: Literal["all", "first", "none"] = "all"
    absent: frozenset[str] = frozenset()
    values_by_id: bool = True
    var_info_by_id: bool = True
    bare_names: bool = True
    names_charset: Literal["utf-8", "latin-1"] = "utf-8"
    plus_is_blank: bool = False
    length_limit: int | None = 4000
    length_answer: Literal["414", "empty"] = "414"
    read_only: bool = False

    id_ex: bool = True
    short_ids: bool = True
    typed_var_info: bool = False
    units: Literal["known", "absent", "unknown"] = "known"
    no_value: Literal["dash", "missing", "empty", "nan"] = "dash"
    date_digits: Literal[14, 17] = 14
    clock_1999: bool = False

    declaration: bool = True
    bom: bool = False
    pretty: bool = False
    padded: bool = False
    extra_elements: bool = False

    version: str = "4.2.3"
    """Of the software, in information.xml."""
    server_header: str | None = "CirCarLife Scada 4.2.3"
    date_header: bool = False
    auth: Auth = "none"
    auth_writes_only: bool = False
    nonce_uses: int | None = None
    """Requests after which a Digest nonce is stale."""

    @classmethod
    def parse(cls, names: Iterable[str]) -> Dialect:
        """Put a dialect together from names of `NAMES`; later ones win, absent documents add up."""
        dialect = cls()
        for name in names:
            if name not in NAMES:
                raise ValueError(f"unknown dialect {name!r}; known are: {', '.join(sorted(NAMES))}")
            changes = dict(NAMES[name].changes)
            changes["absent"] = dialect.absent | changes.get("absent", frozenset())
            dialect = replace(dialect, **changes)
        return dialect

    def lacks(self, path: str) -> bool:
        """Whether this engine does not have the document at `path`."""
        return any(path.startswith(prefix) for prefix in self.absent)


@dataclass(frozen=True)
class Named:
    """A dialect's name on the command line: what it says, and the fields it sets."""

    says: str
    changes: Mapping[str, Any]

    def __post_init__(self) -> None:
        unknown = set(self.changes) - {field.name for field in fields(Dialect)}
        if unknown:
            raise ValueError(f"no such field of Dialect: {unknown}")


def _without(says: str, *paths: str) -> Named:
    return Named(says, {"absent": frozenset(f"/services/{path}" for path in paths)})


def _but(says: str, **changes: Any) -> Named:
    return Named(says, changes)


NAMES: Mapping[str, Named] = MappingProxyType(
    {
        "full": _but("a friendly full engine (the default)"),
        "amp-only": _but("parameters are separated by & only", separators="&"),
        "question-only": _but("parameters are separated by ? only", separators="?"),
        "single": _but("of several parameters only the first is answered", many="first"),
        "no-separator": _but("several parameters answer an empty root", many="none"),
        "no-values-id": _but("values.xml?id= answers an empty root", values_by_id=False),
        "no-varinfo-id": _but("varInfo.xml?id= answers an empty root", var_info_by_id=False),
        "no-bare-name": _but("values.xml?var=STATUS answers an empty root", bare_names=False),
        "no-values": _without("values.xml is absent", "user/values.xml"),
        "no-varinfo": _without("varInfo.xml is absent", "user/varInfo.xml"),
        "no-device-state": _without("deviceState.xml is absent", "devices/deviceState.xml"),
        "no-user-deviceinfo": _without("user/deviceInfo.xml is absent", "user/deviceInfo.xml"),
        "no-cpi-deviceinfo": _without(
            "chargePointsInterface/deviceInfo.xml is absent", "chargePointsInterface/deviceInfo.xml"
        ),
        "no-user-devices": _without("user/devices.xml is absent", "user/devices.xml"),
        "no-charge-points": _without("chargePointsInterface is absent", "chargePointsInterface/"),
        "no-plug-info": _without("plugInfo.xml is absent", "chargePointsInterface/plugInfo.xml"),
        "no-plug-state": _without("plugState.xml is absent", "chargePointsInterface/plugState.xml"),
        "no-charge-info": _without("chargeInfo.xml is absent", "chargePointsInterface/chargeInfo.xml"),
        "no-status": _without("status.xml is absent", "system/status.xml"),
        "no-information": _without("information.xml is absent", "system/information.xml"),
        "no-events": _without("the events documents are absent", "events/", "system/eventsActions.xml"),
        "state-only": _without("values come from deviceState.xml only", "user/values.xml", "user/varInfo.xml"),
        "wallbox-proven": _but(
            "only what was seen on a real wallbox: one parameter a request, values and varInfo by var=, "
            "deviceState, deviceInfo under chargePointsInterface",
            many="none",
            values_by_id=False,
            var_info_by_id=False,
            bare_names=False,
            absent=frozenset({"/services/user/deviceInfo.xml"}),
        ),
        "read-only": _but("every write is refused with 403", read_only=True),
        "no-idex": _but("varInfo lacks idEx", id_ex=False),
        "long-ids": _but("varInfo.xml?id= has full names in id", short_ids=False),
        "typed": _but("varInfo has varType and valueInfo", typed_var_info=True),
        "no-units": _but("varInfo lacks measureUnits", units="absent"),
        "unknown-units": _but("varInfo has unknown unit codes", units="unknown"),
        "dash": _but("no value is written as -", no_value="dash"),
        "missing": _but("no value is an id alone", no_value="missing"),
        "empty": _but("no value is an empty element", no_value="empty"),
        "nan": _but("no value is written as nan", no_value="nan"),
        "date17": _but("dates have 17 digits", date_digits=17),
        "clock-1999": _but("the engine's clock was never set", clock_1999=True),
        "bom": _but("documents begin with a byte order mark", bom=True),
        "no-declaration": _but("documents lack the XML declaration", declaration=False),
        "pretty": _but("documents are indented", pretty=True),
        "padded": _but("texts have blanks around them", padded=True),
        "extra-elements": _but("documents have unknown elements", extra_elements=True),
        "latin-1": _but("names in a request are Latin-1", names_charset="latin-1"),
        "plus-is-blank": _but("+ in a request is a blank", plus_is_blank=True),
        "length-2000": _but("a target over 2000 characters answers 414", length_limit=2000),
        "length-empty": _but("a target that is too long answers an empty root", length_answer="empty"),
        "no-length-limit": _but("targets may have any length", length_limit=None),
        "no-server-header": _but("answers lack the Server header", server_header=None),
        "patched": _but("version 4.3.1", version="4.3.1", server_header="CirCarLife Scada 4.3.1"),
        "date-header": _but("answers have a Date header", date_header=True),
        "basic": _but("Basic authentication", auth="basic"),
        "digest": _but("Digest authentication, MD5 with qop=auth", auth="digest"),
        "digest-stale": _but("Digest whose nonce is stale after three requests", auth="digest", nonce_uses=3),
        "not-granted-200": _but("a refused request answers 200 and 'not granted'", auth="not-granted"),
        "auth-writes-only": _but("only writes need authentication", auth_writes_only=True),
    }
)
"""Names for the command line; `says` is their help text."""
