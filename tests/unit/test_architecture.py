"""The house plan: which room may know which, and how large a room may be."""

import ast
import re
from pathlib import Path

import pytest

import ccl_exporter
from ccl_exporter import errors

PACKAGE = Path(ccl_exporter.__file__).parent
MODULES = {
    ".".join(("ccl_exporter", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

# What each room may import of ours; rooms that are not named here may be imported by nobody but these.
MAY_IMPORT = {
    "ccl_exporter.errors": set(),
    "ccl_exporter.model": {"ccl_exporter.errors"},
    "ccl_exporter.catalogue": set(),
    "ccl_exporter.settings": {"ccl_exporter.errors", "ccl_exporter.model"},
    "ccl_exporter.logs": set(),
    "ccl_exporter.memory": set(),
    "ccl_exporter.service_manager": set(),
    "ccl_exporter.families": {"ccl_exporter.catalogue", "ccl_exporter.model"},
    "ccl_exporter.powerstudio.wire": {"ccl_exporter.errors", "ccl_exporter.model"},
    "ccl_exporter.variables": {"ccl_exporter.catalogue", "ccl_exporter.model", "ccl_exporter.powerstudio.wire"},
    "ccl_exporter.samples": {
        "ccl_exporter",
        "ccl_exporter.catalogue",
        "ccl_exporter.families",
        "ccl_exporter.model",
        "ccl_exporter.variables",
    },
    "ccl_exporter.state": {"ccl_exporter.errors"},
    "ccl_exporter.plausibility": {"ccl_exporter.model", "ccl_exporter.variables"},
    "ccl_exporter.charger": {
        "ccl_exporter.model",
        "ccl_exporter.plausibility",
        "ccl_exporter.powerstudio.engine",
        "ccl_exporter.powerstudio.transport",
        "ccl_exporter.powerstudio.under_way",
        "ccl_exporter.settings",
        "ccl_exporter.state",
    },
    "ccl_exporter.ledger.accounts": {
        "ccl_exporter",
        "ccl_exporter.families",
        "ccl_exporter.model",
        "ccl_exporter.plausibility",
        "ccl_exporter.samples",
        "ccl_exporter.variables",
    },
    "ccl_exporter.ledger.file": {"ccl_exporter.ledger.accounts", "ccl_exporter.errors"},
    "ccl_exporter.ledger.ledger": {
        "ccl_exporter",
        "ccl_exporter.ledger.accounts",
        "ccl_exporter.errors",
        "ccl_exporter.ledger.file",
        "ccl_exporter.model",
    },
    "ccl_exporter.ledger.table": {
        "ccl_exporter.catalogue",
        "ccl_exporter.ledger.accounts",
        "ccl_exporter.errors",
        "ccl_exporter.ledger.file",
        "ccl_exporter.questions.listing",
    },
    "ccl_exporter.ledger.finished": {
        "ccl_exporter.catalogue",
        "ccl_exporter.ledger.accounts",
        "ccl_exporter.families",
        "ccl_exporter.model",
    },
    "ccl_exporter.rounds": {
        "ccl_exporter.charger",
        "ccl_exporter.ledger.finished",
        "ccl_exporter.model",
        "ccl_exporter.samples",
    },
    "ccl_exporter.push": {
        "ccl_exporter",
        "ccl_exporter.charger",
        "ccl_exporter.families",
        "ccl_exporter.ledger.finished",
        "ccl_exporter.model",
        "ccl_exporter.rounds",
        "ccl_exporter.settings",
        "ccl_exporter.sinks.delivery",
        "ccl_exporter.sinks.influx",
        "ccl_exporter.sinks.influx_writer",
        "ccl_exporter.sinks.spool",
    },
    "ccl_exporter.publishing": {
        "ccl_exporter",
        "ccl_exporter.charger",
        "ccl_exporter.families",
        "ccl_exporter.model",
        "ccl_exporter.rounds",
        "ccl_exporter.settings",
        "ccl_exporter.sinks.broker",
        "ccl_exporter.sinks.homeassistant",
        "ccl_exporter.sinks.mqtt",
    },
    "ccl_exporter.configuration.inventory": {"ccl_exporter", "ccl_exporter.errors", "ccl_exporter.settings"},
    "ccl_exporter.configuration.values": {"ccl_exporter.errors", "ccl_exporter.configuration.inventory"},
    "ccl_exporter.configuration.influxdb": {
        "ccl_exporter.configuration.values",
        "ccl_exporter.configuration.inventory",
        "ccl_exporter.model",
        "ccl_exporter.settings",
    },
    "ccl_exporter.configuration.mqtt": {
        "ccl_exporter.configuration.values",
        "ccl_exporter.configuration.inventory",
        "ccl_exporter.model",
        "ccl_exporter.settings",
    },
    "ccl_exporter.configuration.document": {
        "ccl_exporter",
        "ccl_exporter.configuration.values",
        "ccl_exporter.errors",
        "ccl_exporter.configuration.influxdb",
        "ccl_exporter.configuration.inventory",
        "ccl_exporter.model",
        "ccl_exporter.configuration.mqtt",
        "ccl_exporter.settings",
    },
    "ccl_exporter.following.budget": set(),
    "ccl_exporter.following.follow": {"ccl_exporter.following.budget", "ccl_exporter.charging.view"},
    "ccl_exporter.following.trust": {"ccl_exporter.following.follow"},
    "ccl_exporter.following.feeds": {"ccl_exporter.errors", "ccl_exporter.following.trust"},
    "ccl_exporter.following.charger": {
        "ccl_exporter",
        "ccl_exporter.charging.plug",
        "ccl_exporter.errors",
        "ccl_exporter.families",
        "ccl_exporter.following.follow",
        "ccl_exporter.model",
        "ccl_exporter.charging.view",
        "ccl_exporter.samples",
        "ccl_exporter.variables",
        "ccl_exporter.charging.memory",
        "ccl_exporter.charging.writing",
    },
    "ccl_exporter.following.loop": {
        "ccl_exporter.errors",
        "ccl_exporter.following.feeds",
        "ccl_exporter.following.follow",
        "ccl_exporter.following.charger",
        "ccl_exporter.following.trust",
    },
    "ccl_exporter.following.families": {"ccl_exporter.following.follow", "ccl_exporter.model"},
    "ccl_exporter.following.metrics": {
        "ccl_exporter",
        "ccl_exporter.errors",
        "ccl_exporter.following.families",
        "ccl_exporter.following.loop",
    },
    "ccl_exporter.planning.prices": {"ccl_exporter.errors"},
    "ccl_exporter.planning.plan": {"ccl_exporter.errors", "ccl_exporter.planning.prices"},
    "ccl_exporter.planning.timers": {"ccl_exporter.planning.plan"},
    "ccl_exporter.planning.loop": {
        "ccl_exporter.charging.plug",
        "ccl_exporter.errors",
        "ccl_exporter.planning.plan",
        "ccl_exporter.charging.view",
        "ccl_exporter.planning.prices",
    },
}


def imports(module: str) -> set[str]:
    """The modules of ours that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return {name for name in found if name.partition(".")[0] == "ccl_exporter"}


@pytest.mark.parametrize("module", sorted(MAY_IMPORT))
def test_a_room_knows_only_the_rooms_below_it(module: str) -> None:
    assert imports(module) <= MAY_IMPORT[module]


def test_sinks_know_only_the_model_what_is_configured_and_each_other() -> None:
    for module in MODULES:
        if module.startswith("ccl_exporter.sinks."):
            others = {name for name in imports(module) if not name.startswith("ccl_exporter.sinks.")}
            known = {"ccl_exporter", "ccl_exporter.model", "ccl_exporter.errors", "ccl_exporter.settings"}
            assert others <= known, module


def test_the_spool_knows_nothing_of_what_it_stores() -> None:
    assert imports("ccl_exporter.sinks.spool") == {"ccl_exporter.sinks.spool_file"}
    assert imports("ccl_exporter.sinks.spool_file") == set()


def test_the_web_reads_no_charger_by_itself() -> None:
    for module in MODULES:
        if module.startswith("ccl_exporter.web."):
            assert not {name for name in imports(module) if "powerstudio" in name}, module


def test_the_simulator_and_the_exporter_know_nothing_of_each_other() -> None:
    for module in MODULES:
        for name in imports(module):
            inside = module.startswith("ccl_exporter.simulator")
            if inside != name.startswith("ccl_exporter.simulator"):
                assert module == "ccl_exporter.cli", f"{module} imports {name}"


def test_only_wire_reads_xml() -> None:
    readers = {
        module
        for module, path in MODULES.items()
        if "defusedxml" in path.read_text(encoding="utf-8") and not module.startswith("ccl_exporter.simulator")
    }

    assert readers == {"ccl_exporter.powerstudio.wire"}


def test_nothing_that_the_service_imports_can_write_to_a_charger() -> None:
    seen: set[str] = set()
    pending = ["ccl_exporter.service"]
    while pending:
        module = pending.pop()
        if module not in seen:
            seen.add(module)
            pending += [name for name in imports(module) if name in MODULES]

    assert "ccl_exporter.powerstudio.transport" in seen
    assert not {name for name in seen if re.search(r"\.(follow|plan|feeds|prices)", name)}
    sent = set()
    for module in seen:
        source = MODULES[module].read_text(encoding="utf-8")
        assert "forceVariables" not in source, module
        assert not re.search(r"import_module|__import__", source), f"{module} may import what nobody sees here"
        assert not re.search(r"(requests|session)\.(put|post|patch|delete|request|send)\b", source), module
        words, verbs = set(), set()
        for node in ast.walk(ast.parse(source)):
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
        if module.startswith("ccl_exporter.powerstudio."):
            sent |= verbs
        elif "POST" in verbs:
            assert module == "ccl_exporter.sinks.influx_writer", f"{module} sends something"
    assert sent == {"GET"}


def test_no_room_is_larger_than_four_hundred_lines() -> None:
    sizes = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}

    assert {module: size for module, size in sizes.items() if size > 400} == {}


def test_every_error_descends_from_one_and_stands_in_the_tree() -> None:
    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
    ]

    assert all(issubclass(error, errors.CclError) for error in classes)
    assert all(error.__name__ in (errors.__doc__ or "") for error in classes)
