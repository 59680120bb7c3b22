"""A recording of a charger, laid out like its URLs, with everything personal masked before it is written.

What is masked: values that the exporter does not show, every free text, serial numbers, users,
identifiers of devices, charges and systems (alike ones stay alike), network and mail addresses,
and the names of devices but for their shape.
"""

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from ccl_exporter.errors import Absent, ChargerError, TooLarge, UsageError
from ccl_exporter.powerstudio import endpoints, xml_parser
from ccl_exporter.powerstudio.inventory import Device, owner
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.station.catalogue import Catalogue, catalogue

MASK = "masked"

_PATIENCE = 15.0
"""Seconds for each document."""

_LONGEST_NAME = 255
"""Bytes that a file system takes for a file's name."""

_PLAIN = (
    endpoints.USER_DEVICES,
    endpoints.CHARGE_POINTS_DEVICES,
    endpoints.PLUG_INFO,
    endpoints.PLUG_STATE,
    endpoints.CHARGE_INFO,
    endpoints.CHARGE_STATE,
    endpoints.STATUS,
    endpoints.INFORMATION,
    endpoints.VAR_INFO,
    endpoints.VALUES,
)
_BY_DEVICE = (
    endpoints.USER_DEVICE_INFO,
    endpoints.CHARGE_POINTS_DEVICE_INFO,
    endpoints.VAR_INFO_BY_DEVICE,
    endpoints.VALUES_BY_DEVICE,
    endpoints.DEVICE_STATE,
)

_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ADDRESS = re.compile(
    r"(?:\d{1,3}\.){3}\d{1,3}"  # IPv4
    r"|(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}"  # MAC
    r"|[0-9A-Fa-f:]*::[0-9A-Fa-f:]+|(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"  # IPv6
    r"|[\w.+-]+@[\w-]+\.[\w.-]+"  # mail
    r"|https?://\S+"
)

# Texts that say what an engine is, which a recording is for; every other text is masked.
_OPEN = frozenset(
    {
        "title",
        "measureUnits",
        "sampleMode",
        "varType",
        "unitsFactor",
        "decimals",
        "hasValue",
        "hasLogger",
        "hasForced",
        "type",
        "typeDescription",
        "version",
        "company",
        "connectorType",
        "chargeMode",
        "olsonTimeZone",
        "ctrlType",
        "xmlValue",
    }
)
_NAMES = frozenset({"id", "var", "idEx", "device", "meter", "EVCommDevice"})
_PICTURES = frozenset({"image", "appImage", "icon"})
_TEXTS = frozenset({"textStr", "textValue"})
_SIMPLE = re.compile(r"-?[0-9]+(\.[0-9]+)?|[TF]")


@dataclass
class Masker:
    """Masks documents of one engine; alike things stay alike over all of them.

    `devices` are the engine's devices with their types, as far as they are known.
    """

    devices: Mapping[str, Device]
    facts: Catalogue = field(default_factory=catalogue)
    _guids: dict[str, str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def name(self, text: str, whole: bool = False) -> str:
        """A device's name, or a variable's or plug's that begins with one, with the shape of the name kept.

        Names that the vendor gives stay. `whole` masks a name that begins with no device too.
        """
        device = text if text in self.devices else owner(text, self.devices)
        if device is None and whole:
            device = text
        if device is None or device in self.facts.names:
            return text
        if device not in self._names:
            self._names[device] = self._shape(device)
        return self._names[device] + text[len(device) :]

    def _shape(self, name: str) -> str:
        """Letters become x, X or é, digits 0, all else stays: what makes a name odd is what a recording is for.

        A number in letters at its end keeps apart what would look alike.
        """
        shape = "".join(map(_shaped, name))
        candidate, count = shape, 0
        while candidate in self._names.values() or (candidate != name and candidate in self.devices):
            count += 1
            candidate = f"{shape}{chr(ord('a') + count % 26) * (1 + count // 26)}"
        return candidate

    def text(self, text: str) -> str:
        """A text with its identifiers and addresses masked."""
        return _ADDRESS.sub(MASK, _GUID.sub(self._guid, text))

    def _guid(self, found: re.Match[str]) -> str:
        return self._guids.setdefault(found[0].upper(), f"00000000-0000-0000-0000-{len(self._guids) + 1:012d}")

    def document(self, data: bytes) -> bytes:
        """A document as XML without anything personal; raises `Garbled` and shows nothing if it is no XML."""
        root = xml_parser.document(data)
        root.attrib.clear()
        root.text = MASK if not len(root) and (root.text or "").strip() else None
        for parent in root.iter():
            for child in parent:
                self._mask(parent, child)
        body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
        return body

    def _mask(self, parent: ET.Element, child: ET.Element) -> None:
        child.attrib.clear()
        child.tail = None
        if len(child):
            child.text = None
            if child.tag == "variable" and self._personal((child.findtext("id") or "").strip()):
                for node in child.iter():
                    if node.tag != "id" and not len(node) and (node.text or "").strip() not in ("", "-"):
                        node.text = "0.000000" if node.tag in ("value", "date") else MASK
            return
        text = (child.text or "").strip()
        if child.tag in _PICTURES:
            child.text = None
        elif child.tag in _NAMES or (child.tag == "name" and parent.tag.startswith(("plug", "charge"))):
            is_own = child.tag in ("id", "name") and parent.tag.startswith(("plug", "charge"))
            child.text = self.text(self.name(text, whole=is_own and not _GUID.fullmatch(text)))
        elif (
            child.tag in _OPEN or _GUID.fullmatch(text) or (parent.tag, child.tag) == ("systemInformation", "name")
        ):
            child.text = self.text(text)
        elif text in ("", "-") or (
            _SIMPLE.fullmatch(text) and child.tag not in _TEXTS and not self.facts.looks_personal(child.tag)
        ):
            child.text = text
        else:
            child.text = MASK

    def _personal(self, name: str) -> bool:
        device = owner(name, self.devices)
        kind = self.devices[device].type if device is not None else None
        return self.facts.sensitive(kind, name[len(device) + 1 :] if device is not None else name)


def _shaped(character: str) -> str:
    if character.isdigit():
        return "0"
    if character.isalpha():
        return "é" if not character.isascii() else "X" if character.isupper() else "x"
    return "_" if character == "/" or not character.isprintable() else character


def _file(question: str, name: str) -> str:
    """Where the answer to a question about a name is kept; a slash in the name leads to no other folder."""
    return question + name.replace("/", "_")


@dataclass
class Recording:
    """What `dump` makes: the documents that were written, and what became of the others, by masked target.

    `total` is how many documents there are, as far as it is known; 0 before the devices are known.
    """

    written: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    total: int = 0

    @property
    def done(self) -> int:
        return len(self.written) + len(self.left_out)


def dump(transport: Transport, folder: Path, recording: Recording | None = None) -> Recording:
    """Request every known document of a charger, one at a time, and write them masked into `folder`.

    `recording` is filled meanwhile, so that another thread may see how far it is.

    Raises `UsageError` if the folder is not empty or cannot be written, and `ChargerError` if nothing can be read.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is not an empty folder")
        return _Dump(transport, folder, recording or Recording()).run()
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error


@dataclass
class _Dump:
    transport: Transport
    folder: Path
    recording: Recording
    about: list[str] = field(default_factory=list)

    def run(self) -> Recording:
        """Learn the devices first, as without them nothing can be masked."""
        ids, by_id = self._devices()
        masker = Masker({id: by_id.get(id, Device(id)) for id in ids})
        names = [name for device in masker.devices.values() for name in device.variables]
        self.recording.total = len(_PLAIN) + len(ids) * len(_BY_DEVICE)
        for path in _PLAIN:
            self._keep(masker, path, path)
        described = True
        for id in ids:
            for question in _BY_DEVICE:
                found = self._keep(masker, question.target([id]), _file(f"{question.path}?id=", masker.name(id)))
                is_description = question.path == endpoints.VAR_INFO_BY_NAME.path
                if described and is_description and (found is None or b"<var>" not in found):
                    described = False
                    self.recording.total += len(names)
        for name in names if not described else ():
            self._keep(
                masker,
                endpoints.VAR_INFO_BY_NAME.target([name]),
                _file(f"{endpoints.VAR_INFO_BY_NAME.path}?var=", masker.name(name)),
            )
        self._write("about.txt", "\n".join(self.about).encode() + b"\n")
        return self.recording

    def _get(self, target: str) -> bytes:
        return self.transport.get(target, monotonic() + _PATIENCE)

    def _devices(self) -> tuple[tuple[str, ...], dict[str, Device]]:
        ids: tuple[str, ...] = ()
        problem: ChargerError = Absent("the engine lists no devices")
        for path in _PLAIN[:2]:
            try:
                ids = ids or xml_parser.devices(self._get(path))
            except ChargerError as error:
                problem = problem if isinstance(error, Absent) else error
        if not ids:
            raise problem
        by_id: dict[str, Device] = {}
        for id in ids:
            for question in _BY_DEVICE[:2]:
                with suppress(ChargerError):
                    by_id.update(
                        {device.id: device for device in xml_parser.device_info(self._get(question.target([id])))}
                    )
        return ids, by_id

    def _keep(self, masker: Masker, target: str, name: str) -> bytes | None:
        """Ask for one document and write it under its masked name; a failure is noted and ends nothing."""
        started = monotonic()
        try:
            data = self._get(target)
            masked = masker.document(data)
            self._write(name, masked)
        except ChargerError as error:
            kind = type(error).__name__
            self.recording.left_out[name] = kind
            self.about.append(f"{name}: {kind} after {monotonic() - started:.3f} s")
            return None
        self.recording.written.append(name)
        self.about.append(f"{name}: {len(data)} bytes in {monotonic() - started:.3f} s")
        return data

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        if max(len(os.fsencode(part)) for part in path.parts) > _LONGEST_NAME:
            raise TooLarge("the name is too long for a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
