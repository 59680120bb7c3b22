"""What a person says on the command line or in the environment, checked and turned into frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ccl_exporter.errors import UsageError
from ccl_exporter.model import Credentials

_PORTS = range(65536)


@dataclass(frozen=True, slots=True)
class ChargerAddress:
    """A charger: its name for logs, the root of its engine, and a login if it has one."""

    name: str
    url: str
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen; port 0 is any free one."""

    host: str
    port: int


def charger_address(text: str, environment: Mapping[str, str]) -> ChargerAddress:
    """A charger from a URL (`http://evse`) or a host (`evse`, `192.0.2.10:8080`); raises `UsageError`.

    Its login is in the environment: `CCL_USERNAME`, and `CCL_PASSWORD` or the file that `CCL_PASSWORD_FILE` names.
    """
    text = text.strip()
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"'{text}' is not the address of a charger: {error}") from error
    if parts.username or parts.password:
        raise UsageError("the charger's address must not hold a user name or password")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise UsageError(f"'{text}' is not the address of a charger; it looks like http://evse or 192.0.2.10:8080")
    shown = f"[{host}]" if ":" in host else host
    where = shown if port is None else f"{shown}:{port}"
    url = f"{parts.scheme}://{where}{parts.path.rstrip('/')}"
    return ChargerAddress(name=where, url=url, credentials=_credentials(environment))


def _credentials(environment: Mapping[str, str]) -> Credentials | None:
    username = environment.get("CCL_USERNAME")
    password, path = environment.get("CCL_PASSWORD"), environment.get("CCL_PASSWORD_FILE")
    if not username:
        if password or path:
            raise UsageError("a password is given but no user name: set CCL_USERNAME too")
        return None
    if password is None and path is not None:
        try:
            password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the password file {path} cannot be read") from error
    if password is None:
        raise UsageError("a user name is given but no password: set CCL_PASSWORD_FILE or CCL_PASSWORD too")
    return Credentials(username, password)


def listen_address(text: str) -> ListenAddress:
    """An address such as `127.0.0.1:9986`, `:9986` or `[::1]:9986`; raises `UsageError`."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isdecimal() or int(port) not in _PORTS:
        raise UsageError(f"'{text}' is not an address to listen on; it looks like 127.0.0.1:9986 or :9986")
    return ListenAddress(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - `:9986` means every interface
