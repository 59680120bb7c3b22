"""The folder of the add-on for Home Assistant, what it declares, and its program as a module."""

import importlib.util
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from helpers.support import PROJECT

ADDON = PROJECT / "deploy" / "homeassistant-addon"
CONFIG: Mapping[str, Any] = yaml.safe_load((ADDON / "config.yaml").read_text(encoding="utf-8"))


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("addon_run", ADDON / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["addon_run"] = module
    spec.loader.exec_module(module)
    return module


RUN = _loaded()
