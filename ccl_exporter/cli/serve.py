"""`serve`: the metrics of one charger, or of all that the configuration file names."""

import logging
import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from ccl_exporter.cli.service_signals import SIGNALS
from ccl_exporter.cli.shared import (
    ConfigFile,
    Listen,
    address,
    configuration,
    flush_streams,
    program_for_others,
    say,
    web_option,
)
from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.service import Options, Service
from ccl_exporter.exporter.web.app import allowed_hosts
from ccl_exporter.exporter.web.security import WebSecurity
from ccl_exporter.exporter.web.trusted_proxy import proxy_address
from ccl_exporter.gc_tuning import collect_seldom, share_memory
from ccl_exporter.locks import state_folder
from ccl_exporter.logs import to_stderr
from ccl_exporter.sd_notify import READY, STOPPING, Watchdog, notify, reloading
from ccl_exporter.settings import ChargerSettings, Settings, listen_address
from ccl_exporter.text import count, parse_duration

log = logging.getLogger(__name__)

LISTEN = "127.0.0.1:9986"

LOG_OPTIONS = "Log options"
"""A group of flags in the help."""

LogLevel = Literal["debug", "info", "warn", "error"]
LogFormat = Literal["logfmt", "json"]
Level = Annotated[LogLevel, typer.Option("--log.level", rich_help_panel=LOG_OPTIONS, help="Minimum log level.")]
Format = Annotated[
    LogFormat, typer.Option("--log.format", rich_help_panel=LOG_OPTIONS, help="Format of log lines.")
]


def serve(  # noqa: PLR0913, PLR0917 - each is a flag of the command
    charger: Annotated[
        str | None,
        typer.Argument(envvar="CCL_CHARGER", metavar="CHARGER", help="URL, host name or address of the charger."),
    ] = None,
    listen: Listen = LISTEN,
    config_file: ConfigFile = None,
    config_check: Annotated[
        bool, typer.Option("--config.check", help="Check the configuration files, report errors, and exit.")
    ] = False,
    web_config_file: Annotated[
        Path | None,
        web_option("--web.config.file", metavar="FILE", help="TLS and users, in the format of exporter-toolkit."),
    ] = None,
    lifecycle: Annotated[
        bool,
        web_option("--web.enable-lifecycle", help="Let POST /-/reload read the configuration again."),
    ] = False,
    fail_on_down: Annotated[
        bool,
        web_option("--web.fail-on-down", help="Answer 503 for a charger that is down, besides ccl_up 0."),
    ] = False,
    hosts: Annotated[
        list[str] | None,
        web_option(
            "--web.allowed-hosts",
            metavar="HOST",
            help="Answer only requests to these hosts, with or without port; separated by commas, or repeated.",
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        web_option(
            "--web.trusted-proxy",
            metavar="ADDRESS",
            help="Answer only a reverse proxy at this address, whose users count as logged in.",
        ),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            "--poll.fallback-interval",
            metavar="DURATION",
            help="Read a charger that nothing has read for so long, to record its sessions; 0s is never."
            " Default: 90s with exactly one charger, otherwise never.",
        ),
    ] = None,
    level: Level = "info",
    format: Format = "logfmt",
) -> None:
    """Serve the metrics of one charger, or of all that the configuration file names.

    \b
    Examples:
      ccl-exporter serve http://evse
      ccl-exporter serve --config.file ccl.yaml
    """
    log_to_stderr(level, format)
    options = Options(
        *(listen_address(listen), web_config_file, lifecycle, fail_on_down, allowed_hosts(hosts or ())),
        _fallback_interval(fallback),
        proxy_address(proxy) if proxy is not None else None,
        program_for_others(),
    )
    if config_check:
        return _check_files(config_file, web_config_file)
    run_service(charger, config_file, options, state_folder(os.environ))
    # What is still being asked of a charger that does not answer would hold up the end by half a minute.
    os._exit(0)


def _fallback_interval(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--poll.fallback-interval: {error}") from error


def _check_files(config_file: Path | None, web_config_file: Path | None) -> None:
    if config_file is None and web_config_file is None:
        raise UsageError("there is nothing to check: name --config.file or --web.config.file")
    if config_file is not None:
        chargers = configuration(config_file, patient=False).settings.chargers
        typer.echo(f"{config_file}: OK, {count(len(chargers), 'charger')}.")
    if web_config_file is not None:
        WebSecurity(web_config_file)
        typer.echo(f"{web_config_file}: OK.")


def _allow_many_connections() -> None:
    """Raise the soft limit of open files to the hard one; each charger takes a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_service(charger: str | None, config_file: Path | None, options: Options, state: Path | None) -> None:
    """Serve until SIGTERM or SIGINT; raises `UsageError` if the service cannot start. SIGHUP reloads."""
    SIGNALS.install()
    more = ""
    _allow_many_connections()
    share_memory()
    collect_seldom()
    if config_file is None:
        named = address(charger)
        settings = Settings({named.name: named})
        service = Service(settings, options, state)
    else:
        if charger is not None:
            raise UsageError(
                "name a charger (also CCL_CHARGER) or a configuration file (also CCL_CONFIG_FILE), not both"
            )
        read = configuration(config_file, fetch=False)
        settings = read.settings
        more = f" and those of {read.source.shown}" if read.pending and read.source is not None else ""
        service = Service(settings, options, state, partial(configuration, config_file), read)
    url = service.bind()
    say(_where(settings.chargers, more, url))
    notify(os.environ, READY)
    with SIGNALS.handled_by(partial(_stop, service), partial(_reload, service)):
        service.run(Watchdog(os.environ).beat)
    flush_streams()


def _where(chargers: Mapping[str, ChargerSettings], more: str, url: str) -> str:
    """What is served where, in a few lines; `more` are the chargers that are not known yet."""
    if len(chargers) == 1 and not more:
        (charger,) = chargers.values()
        return f"Live page: {url}/\nMetrics of {charger.url}: {url}/metrics\nStop with Ctrl-C."
    what = f"{count(len(chargers), 'charger')}{more}"
    return (
        f"Live page: {url}/\nMetrics of {what}: {url}/probe?target=NAME\nList of chargers: {url}/sd\n"
        f"Own metrics: {url}/metrics\nStop with Ctrl-C."
    )


def _stop(service: Service) -> None:
    notify(os.environ, STOPPING)
    try:
        service.stop()
    except Exception:  # it must end, whatever that was
        log.exception("the service could not be stopped in good order")
        os._exit(1)


def _reload(service: Service) -> None:
    notify(os.environ, *reloading())
    try:
        service.reload()
    except UsageError:
        pass  # the service has logged it
    except Exception:  # the next signal must be answered all the same
        log.exception("the configuration could not be read again")
    notify(os.environ, READY)


def log_to_stderr(level: LogLevel, format: LogFormat) -> None:
    """Log to standard error; warn if the user is root."""
    to_stderr(level, format == "json")
    if os.geteuid() == 0:
        log.warning("running as root, which an exporter does not need")
