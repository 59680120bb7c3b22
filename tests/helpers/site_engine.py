"""The engine of a made-up site: its answers in its dialect, and a server on loopback that gives them."""

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote

from helpers.sites import Dialect, Site, Variable

Tree = tuple[str, "str | Sequence[Tree]"]
_STRANGER = "vendorNote"
_ESCAPED = re.compile(r"[&<>\x00-\x1f\x85]")


def _written(tree: Tree, dialect: Dialect, depth: int = 0) -> str:
    tag, inner = tree
    if isinstance(inner, str):
        text = _ESCAPED.sub(lambda found: f"&#{ord(found[0])};", inner)
        return f"<{tag}> \t{text} </{tag}>" if dialect.padded and text else f"<{tag}>{text}</{tag}>"
    children: list[Tree] = list(inner)
    if dialect.strangers and tag != _STRANGER:
        children.insert(0, (_STRANGER, [("x", "1"), ("y", "-")]))
    line = "\n" + "  " * depth if dialect.indent else ""
    body = "".join(f"{line}  {_written(child, dialect, depth + 1)}" for child in children)
    return f"<{tag}>{body}{line}</{tag}>"


def _wire(variable: Variable, dialect: Dialect) -> str | None:
    """The text of a number or date; None for no element."""
    value = variable.value
    if value is None or (not variable.has_value and not dialect.hidden_numbers):
        return {"dash": "-", "missing": None, "empty": "", "nan": "nan"}[dialect.nothing]
    assert not isinstance(value, str)
    if variable.kind == "date":
        return datetime.fromtimestamp(value, UTC).strftime("%d%m%Y%H%M%S000")[: variable.digits]
    return f"{value:.6f}".rstrip("0").rstrip(".") if dialect.plain_numbers else f"{value:.6f}"


class Engine:
    """The site's answers, without sockets."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.dialect = site.dialect
        self._variables = {
            f"{device.id}.{variable.name}": variable for device in site.devices for variable in device.variables
        }
        self._devices = {device.id: device for device in site.devices}

    def answer(self, target: str) -> tuple[int, bytes]:
        """Code and body for a target; parameters are parted before they are decoded."""
        path, _, raw = target.partition("?")
        dialect = self.dialect
        pieces = [piece for piece in re.split(r"[&?]", raw) if piece]
        if not all(separator in dialect.separators for separator in re.findall(r"[&?]", raw)):
            pieces = {"first": pieces[:1], "none": [], "literal": [raw]}[dialect.many]
        asked = [(name, unquote(value)) for name, _, value in (piece.partition("=") for piece in pieces)]
        where, _, document = path.removesuffix(".xml").rpartition("/")
        room = {"/services/user": "user", "/services/chargePointsInterface": "interface"}.get(where, "")
        render = self._documents().get(document)
        if render is None or dialect.absent & {document, f"{room}/{document}"} or len(target) > 4000:
            return dialect.absent_code, b"<html><body>no</body></html>"
        tree = render(asked, room)
        declaration = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>' if dialect.declaration else ""
        return 200, (b"\xef\xbb\xbf" if dialect.bom else b"") + (declaration + _written(tree, dialect)).encode()

    def _documents(self) -> Mapping[str, Callable[[list[tuple[str, str]], str], Tree]]:
        plugs = self.site.plugs
        return {
            "devices": lambda *_: ("devices", [("id", id) for id in self._devices]),
            "deviceInfo": self._device_info,
            "varInfo": self._var_info,
            "values": self._values,
            "deviceState": self._device_state,
            "plugInfo": lambda *_: ("plugsInfo", [("plugInfo", [*plug.info.items()]) for plug in plugs]),
            "plugState": lambda *_: ("plugsState", [("plugState", [*plug.state.items()]) for plug in plugs]),
            "chargeInfo": lambda *_: ("chargesInfo", [("chargeInfo", [*plug.charge.items()]) for plug in plugs]),
            "status": lambda *_: ("systemStatus", [("systemId", "S"), ("deviceId", "D"), ("activeEvents", "0")]),
            "information": lambda *_: ("systemInformation", [("name", "Made up"), ("version", "1.0")]),
        }

    def _asked(self, asked: Iterable[tuple[str, str]], by_id: bool, by_var: bool) -> list[tuple[str, bool]]:
        """Full ids that are asked for, each with whether by id."""
        found: dict[str, bool] = {}
        for parameter, name in asked:
            if parameter == "id" and by_id and name in self._devices:
                found |= {f"{name}.{variable.name}": True for variable in self._devices[name].variables}
            elif parameter == "var" and by_var and name in self._variables:
                found[name] = False
        return list(found.items())

    def _device_info(self, asked: list[tuple[str, str]], room: str) -> Tree:
        usual = (room == "user") is not self.dialect.swapped_info
        root, item = ("devices", "device") if usual else ("devicesInfo", "deviceInfo")
        elements: list[Tree] = []
        for _, id in asked:
            if (device := self._devices.get(id)) is not None:
                kind: list[Tree] = [] if device.type is None else [("type", device.type)]
                names: list[Tree] = [("var", f"{id}.{variable.name}") for variable in device.variables]
                elements.append((item, [("id", id), *kind, ("serialNumber", device.serial), *names]))
        return root, elements

    def _var_info(self, asked: list[tuple[str, str]], _room: str) -> Tree:
        dialect, elements = self.dialect, list[Tree]()
        for full, by_id in self._asked(asked, dialect.var_info_by_id, dialect.var_info_by_var):
            variable = self._variables[full]
            if not variable.described:
                continue
            shorts = {"name": variable.name, "last": variable.name.rpartition(".")[2], "full": full}
            kind = {"number": "double", "text": "wchar", "date": "date"}[variable.kind]
            entry: list[Tree | None] = [
                ("id", shorts[dialect.short] if by_id else full),
                ("idEx", full) if dialect.id_ex else None,
                ("title", variable.title),
                ("hasValue", "T" if variable.has_value else "F"),
                ("hasForced", "T" if variable.writable else "F"),
                ("sampleMode", variable.sample_mode),
                ("measureUnits", variable.unit) if variable.unit else None,
                ("unitsFactor", str(variable.factor)) if variable.factor is not None else None,
                ("decimals", "2"),
                ("varType", kind) if dialect.typed else None,
            ]
            elements.append(("var", [element for element in entry if element is not None]))
        return "varInfo", elements

    def _values(self, asked: list[tuple[str, str]], _room: str) -> Tree:
        elements: list[Tree] = []
        for full, _ in self._asked(asked, self.dialect.values_by_id, by_var=True):
            variable = self._variables[full]
            element: list[Tree] = []
            if variable.kind == "text":
                element = [("textValue", str(variable.value))] if variable.value else []
            elif (text := _wire(variable, self.dialect)) is not None:
                element = [("value", text)]
            elements.append(("variable", [("id", full), *element]))
        return "values", elements

    def _device_state(self, asked: list[tuple[str, str]], _room: str) -> Tree:
        elements: list[Tree] = []
        for full, _ in self._asked(asked[:1], by_id=True, by_var=False):
            variable = self._variables[full]
            text = str(variable.value) if variable.kind == "text" else _wire(variable, self.dialect)
            inner: Tree = ("textValue", [("value", text or "")])
            if variable.kind == "text" or text in (None, "-", ""):
                inner = ("textStr", text or "")
            elif variable.kind == "date":
                inner = ("textDate", [("date", text or "")])
            elements.append(("variable", [("id", full), *([] if text is None else [("text", [inner])])]))
        return "deviceState", [("id", "G"), *elements] if elements else []


class Server:
    """Serves one site after another on loopback; `read` is the number of the read under way."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.read = 0
        self.stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def serve(self, site: Site) -> None:
        """Be another engine from now on."""
        self.engine, self.read = Engine(site), 0

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: Server

    def log_message(self, *_: Any) -> None:
        """Log nothing: a failing test prints the seed, which is enough to repeat it."""

    def do_GET(self) -> None:
        engine = self.owner.engine
        assert engine is not None
        code, body = engine.answer(self.path)
        wrong = [
            failure.kind
            for failure in engine.site.failures
            if failure.part in self.path and self.owner.read <= failure.last
        ]
        kind = wrong[0] if wrong else ""
        if kind == "close":
            self.close_connection = True
            return
        if kind == "slow":
            self.owner.stopping.wait(0.03)
        elif kind.startswith("status-"):
            code, body = int(kind.removeprefix("status-")), b"<html>oh</html>"
        elif kind == "html":
            body = b"<html><body>Welcome<br></body></html>"
        elif kind == "garbled":
            body = body.replace(b"</", b"<//")
        elif kind in ("truncated", "empty"):
            body = body[: len(body) // 2 if kind == "truncated" else 0]
        framing = "length" if kind == "cut" else engine.dialect.framing
        head = [f"HTTP/1.1 {code} X", "Content-Type: text/xml"]
        if framing == "chunked":
            head.append("Transfer-Encoding: chunked")
            body = b"".join(
                b"%x\r\n%s\r\n" % (len(body[at : at + 3000]), body[at : at + 3000])
                for at in range(0, len(body), 3000)
            )
            body += b"0\r\n\r\n"
        elif framing == "length":
            head.append(f"Content-Length: {len(body)}")
        if framing == "close" or kind == "cut":
            head.append("Connection: close")
            self.close_connection = True
        if kind == "cut":
            body = body[: len(body) // 2]
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)
