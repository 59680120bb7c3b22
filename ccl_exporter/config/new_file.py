"""The configuration file that a newcomer begins with."""

from collections.abc import Mapping
from pathlib import Path

from ccl_exporter.yaml_reader import as_yaml


def new_file(chargers: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """A configuration of chargers, URLs by name, with the login that the environment names.

    The file holds no password: it refers to the password file, else to the variable.
    """
    login: dict[str, str] = {}
    if username := environment.get("CCL_USERNAME"):
        login["username"] = username
        if "CCL_PASSWORD" in environment:
            login["password"] = "${CCL_PASSWORD}"  # noqa: S105 - a reference to the variable
        else:
            login["password_file"] = str(Path(environment["CCL_PASSWORD_FILE"]).absolute())
    entries = {name: {"url": url, **login} for name, url in chargers.items()}
    return as_yaml({"chargers": entries})
