"""A real Home Assistant on loopback, for the long form of the proofs: prepared by hand, started, asked, ended."""

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest

from helpers.databases import free_port

PYTHON = "CCL_HOME_ASSISTANT"
"""The environment variable that names the Python of an environment with Home Assistant.

    python3.13 -m venv /tmp/ha && /tmp/ha/bin/pip install homeassistant==2025.4.4 paho-mqtt==2.1.0
    CCL_HOME_ASSISTANT=/tmp/ha/bin/python pytest tests/long/test_home_assistant.py

It takes about 1 GB. At its first start it installs more of its own requirements from PyPI.
"""

START, PATIENCE = 600.0, 120.0  # seconds
_BEGUN = "2025-01-01T00:00:00+00:00"
_USER, _TOKEN, _KEY = "0" * 32, "1" * 32, "2" * 128


@dataclass
class HomeAssistant:
    """One whose only integration is MQTT; `more` is added to its configuration."""

    folder: Path
    broker_port: int
    more: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        storage = self.folder / ".storage"
        storage.mkdir(parents=True)
        (self.folder / "configuration.yaml").write_text(
            f"http: {{server_host: 127.0.0.1, server_port: {self.port}}}\napi:\n"
            f"homeassistant: {{country: GB, time_zone: UTC, unit_system: metric}}\n{self.more}"
        )
        for name, version, data in (("core.config_entries", 5, self._entries()), ("auth", 1, _user())):
            document = {"version": 1, "minor_version": version, "key": name, "data": data}
            (storage / name).write_text(json.dumps(document))
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [python(), "-m", "homeassistant", "--config", str(self.folder), "--verbose"],
                stdout=output,
                stderr=output,
            )
        self.wait(lambda: self.ask("/api/config").get("state") == "RUNNING", "it is running", START)

    def stop(self) -> None:
        """End it, upon which its registries are written."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=PATIENCE)
            self.process = None

    def _entries(self) -> dict[str, Any]:
        entry = {
            **{"created_at": _BEGUN, "modified_at": _BEGUN, "disabled_by": None, "discovery_keys": {}},
            **{"domain": "mqtt", "entry_id": "3" * 32, "minor_version": 2, "version": 1, "options": {}},
            **{"pref_disable_new_entities": False, "pref_disable_polling": False, "source": "user"},
            **{"subentries": [], "title": "broker", "unique_id": None},
            "data": {"broker": "127.0.0.1", "port": self.broker_port, "discovery": True},
        }
        return {"entries": [entry]}

    def wait(self, what: Callable[[], object], says: str, patience: float = PATIENCE) -> None:
        began = monotonic()
        while True:
            try:
                if what():
                    return
            except (urllib.error.URLError, ConnectionError, KeyError):
                pass  # not yet
            assert self.process is None or self.process.poll() is None, self.log()
            assert monotonic() - began < patience, f"not so: {says}: {self.log()[-5000:]}"
            sleep(0.2)

    def log(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def complaints(self) -> list[str]:
        """What it warned of or called an error, without the colours of a terminal."""
        lines = re.sub(r"\x1b\[\d+m", "", self.log()).splitlines()
        return [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]

    def ask(self, path: str, data: Mapping[str, object] | None = None) -> Any:
        """The answer of its API to a GET, or to a POST if there is something to send."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if data is None else json.dumps(data).encode(),
            {"Authorization": f"Bearer {_access_token()}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def states(self) -> dict[str, dict[str, Any]]:
        return {state["entity_id"]: state for state in self.ask("/api/states")}

    def registry(self, kind: str) -> list[dict[str, Any]]:
        """What it has stored of `device` or `entity`, once it was ended."""
        document = json.loads((self.folder / ".storage" / f"core.{kind}_registry").read_text())
        found: list[dict[str, Any]] = document["data"][{"device": "devices", "entity": "entities"}[kind]]
        return found


@contextmanager
def running(house: HomeAssistant) -> Iterator[HomeAssistant]:
    try:
        house.start()
        yield house
    finally:
        house.stop()


def python() -> str:
    """The Python with Home Assistant; skipped visibly where there is none."""
    found = os.environ.get(PYTHON)
    if not found:
        pytest.skip(f"{PYTHON} names no Python with Home Assistant: what it makes of our messages is not checked")
    return found


def _user() -> dict[str, Any]:
    user = {
        **{"id": _USER, "group_ids": ["system-admin"], "is_owner": True, "is_active": True},
        **{"name": "Test", "system_generated": False, "local_only": True},
    }
    token = {
        **{"id": _TOKEN, "user_id": _USER, "client_id": None, "client_name": "test", "client_icon": None},
        **{"token_type": "long_lived_access_token", "created_at": _BEGUN, "access_token_expiration": 1e9},
        **{"token": "4" * 128, "jwt_key": _KEY, "last_used_at": None, "last_used_ip": None, "expire_at": None},
        **{"credential_id": None, "version": "2025.4.4"},
    }
    return {
        "users": [user],
        "groups": [{"id": "system-admin", "name": "Administrators"}],
        "credentials": [],
        "refresh_tokens": [token],
    }


def _access_token() -> str:
    """A JSON web token of the user (RFC 7519), signed with the key that is stored with him."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"iss": _TOKEN, "iat": int(time()) - 5, "exp": int(time()) + 3600})
    signed = b".".join(_base64(json.dumps(part).encode()) for part in parts)
    return (signed + b"." + _base64(hmac.digest(_KEY.encode(), signed, hashlib.sha256))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
