"""The layers of the package: which module may import which, and that the service cannot write to a charger."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

from helpers.support import PROJECT

import ccl_exporter
from ccl_exporter import errors

PACKAGE = Path(ccl_exporter.__file__).parent
MODULES = {
    ".".join(("ccl_exporter", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

LAYERS = (
    ("ccl_exporter",),
    ("errors",),
    ("clock", "gc_tuning", "http_client", "sd_notify", "sqlite_file", "tariff", "text", "workers"),
    ("settings",),
    ("locks", "logs", "mqtt_client", "yaml_reader"),
    ("powerstudio",),
    ("station",),
    ("metrics",),
    ("sessions",),
    ("outputs",),
    ("config",),
    ("exporter", "diagnostics", "control"),
    ("cli",),
    ("__main__",),
)
"""Lowest first. A module may import its own part and whatever lies lower, never a part beside its own."""

HTTP_CLIENT = "ccl_exporter.http_client"
"""The only module that speaks HTTP as a client: its deadline holds for a whole exchange, whatever is asked."""

APART = "simulator"
"""Imports nothing but itself, and only commands import it."""

# Two classes may share a name only where they are the same idea; none are.
SAME_CLASS: dict[str, str] = {}
SAME_MODULE = {
    "check.py": "a command and what it runs",
    "dump.py": "likewise",
    "scan.py": "likewise",
    "client.py": "each output has the client of what it writes to",
    "server.py": "each an HTTP server",
}


def part(module: str) -> str:
    """The part of the layers that a module belongs to: the first name below the package."""
    return module.partition(".")[2].partition(".")[0] or "ccl_exporter"


@cache
def trees() -> dict[str, ast.Module]:
    return {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


@cache
def imports(module: str) -> set[str]:
    """The modules of ours that a module imports, wherever it does, but for types alone."""
    types = {
        node
        for block in ast.walk(trees()[module])
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(trees()[module]):
        if node in types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return {name for name in found if name.partition(".")[0] == "ccl_exporter"} - {module}


def reachable(start: str) -> set[str]:
    """Every module that is imported, sooner or later, once `start` is."""
    seen: set[str] = set()
    pending = [start]
    while pending:
        module = pending.pop()
        if module not in seen and module in MODULES:
            seen.add(module)
            pending += imports(module)
    return seen


def test_every_module_is_in_a_layer() -> None:
    known = {name for layer in LAYERS for name in layer} | {APART}

    assert {part(module) for module in MODULES} - known == set()
    assert known - {part(module) for module in MODULES} == set(), "a layer that has no module"


def test_a_module_imports_only_its_own_part_and_lower_layers() -> None:
    heights = {name: height for height, layer in enumerate(LAYERS) for name in layer}
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in imports(module)
        if part(module) != APART
        and part(name) not in (part(module), APART)
        and heights[part(name)] >= heights[part(module)]
    ]

    assert wrong == []


def test_the_simulator_and_the_exporter_know_nothing_of_each_other() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in imports(module)
        if (part(module) == APART) != (part(name) == APART) and part(module) != "cli"
    ]

    assert wrong == []


def test_there_is_no_import_cycle() -> None:
    wrong = [module for module in MODULES if any(module in reachable(name) for name in imports(module))]

    assert wrong == []


def test_what_an_output_knows_is_samples_and_sessions() -> None:
    known = {
        "ccl_exporter",
        "clock",
        "errors",
        "http_client",
        "locks",
        "mqtt_client",
        "settings",
        "sqlite_file",
        "text",
        "workers",
        "metrics",
        "sessions",
        "outputs",
    }
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if part(module) == "outputs"
        for name in imports(module)
        if part(name) not in known
    ]

    assert wrong == []


def test_the_queue_knows_nothing_of_what_it_stores() -> None:
    assert imports("ccl_exporter.outputs.influxdb.spool") == {
        "ccl_exporter.clock",
        "ccl_exporter.locks",
        "ccl_exporter.sqlite_file",
    }


def test_the_web_reads_no_charger_by_itself() -> None:
    known = {"ccl_exporter.powerstudio.advice", "ccl_exporter.powerstudio.snapshot"}
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if module.startswith("ccl_exporter.exporter.web.")
        for name in imports(module)
        if part(name) == "powerstudio" and name not in known
    ]

    assert wrong == []


def test_only_one_module_reads_xml_from_the_network() -> None:
    readers = {
        module
        for module, path in MODULES.items()
        if "defusedxml" in path.read_text(encoding="utf-8") and part(module) != APART
    }

    assert readers == {"ccl_exporter.powerstudio.xml_parser"}


def test_only_one_module_is_a_client_of_http() -> None:
    libraries = ("http.client", "urllib.request", "urllib3", "requests", "httpx")
    found = set()
    for module, tree in trees().items():
        for node in ast.walk(tree):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {node.module}
            found |= {(module, name) for name in names if name.startswith(libraries)}

    digest = {("ccl_exporter.powerstudio.login", f"requests.{name}") for name in ("auth", "utils")}
    # Prices are a URL of the owner's on the internet: behind a proxy, packed, redirected to another host.
    prices = {("ccl_exporter.control.plan.price_source", "requests")}
    assert found == {(HTTP_CLIENT, "http.client")} | digest | prices


def test_only_commands_print() -> None:
    assert {part(module) for module, path in MODULES.items() if re.search(r"\btyper\b", path.read_text())} == {
        "cli"
    }


def test_the_paths_of_endpoints_stand_in_one_place() -> None:
    places = {
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and str(node.value).startswith("services/") and part(module) != APART
    }

    assert places == {"ccl_exporter.powerstudio.endpoints", "ccl_exporter.control.put"}


def test_nothing_that_the_service_imports_can_write_to_a_charger() -> None:
    seen = reachable("ccl_exporter.exporter.service")

    assert "ccl_exporter.powerstudio.transport" in seen
    assert {module for module in seen if part(module) in ("control", "diagnostics", "cli")} == set()
    sent = set()
    for module in seen:
        source = MODULES[module].read_text(encoding="utf-8")
        assert "forceVariables" not in source, module
        assert not re.search(r"import_module|__import__", source), f"{module} may import what is not checked here"
        assert not re.search(r"(requests|session)\.(put|post|patch|delete|request|send)\b", source), module
        words, verbs = set(), set()
        for node in ast.walk(trees()[module]):
            if isinstance(node, ast.Constant):
                words.add(node.value)
            if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in (
                "urlopen",
                "request",
                "putrequest",
            ):
                # A connection that passes on what it was called with names no verb of its own.
                named = [arg for arg in node.args[:1] if not isinstance(arg, ast.Starred)]
                verbs |= {arg.value if isinstance(arg, ast.Constant) else "?" for arg in named}
        assert not words & {"PUT", "PATCH", "DELETE"}, module
        # The client itself sends what it was called with; whoever calls it says what that is.
        assert "?" not in verbs or module == HTTP_CLIENT, f"{module} sends what is not checked here"
        if part(module) == "powerstudio":
            sent |= verbs
        elif "POST" in verbs:
            assert module == "ccl_exporter.outputs.influxdb.client", f"{module} sends something"
    assert sent == {"GET"}


def test_a_class_name_stands_for_one_idea() -> None:
    places = defaultdict(set)
    for module, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].add(module)

    assert {name: found for name, found in places.items() if len(found) > 1 and name not in SAME_CLASS} == {}


def test_a_module_name_stands_for_one_idea() -> None:
    places = defaultdict(set)
    for path in MODULES.values():
        # A section of the configuration is called like what it configures.
        if path.name != "__init__.py" and path.parent.name != "config":
            places[path.name].add(str(path.relative_to(PACKAGE)))

    assert {name: found for name, found in places.items() if len(found) > 1 and name not in SAME_MODULE} == {}
    assert {name for name in SAME_MODULE if len(places[name]) < 2} == set(), "an exception without a case"


def test_every_error_descends_from_one_and_stands_in_the_tree() -> None:
    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
    ]

    assert all(issubclass(error, errors.CclError) for error in classes)
    assert all(error.__name__ in (errors.__doc__ or "") for error in classes)


def test_no_two_test_files_have_the_same_name() -> None:
    # A report names the file, and a file that is copied between folders would go unnoticed.
    places = defaultdict(list)
    for path in sorted((PROJECT / "tests").rglob("test_*.py")):
        places[path.name].append(str(path.relative_to(PROJECT)))

    assert [found for found in places.values() if len(found) > 1] == []
    assert len(places) > 50
