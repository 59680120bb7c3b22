"""What the configuration file says of a broker to publish to (`mqtt`)."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Annotated, Any, cast

from pydantic import AfterValidator, Field, model_validator
from pydantic import ValidationInfo as Info

from ccl_exporter.config import fields
from ccl_exporter.config.section import Section
from ccl_exporter.errors import UsageError
from ccl_exporter.outputs.output import Output, OutputContext
from ccl_exporter.settings import MQTT_EXTRA, BrokerSettings, MqttSettings, broker_settings
from ccl_exporter.text import quote_short

_TOPIC = re.compile(r"(?!\$)[^\s+#/\x00-\x1f\x7f]+(/[^\s+#/\x00-\x1f\x7f]+)*")


def _broker(url: str) -> BrokerSettings:
    return broker_settings(url, "give them as keys")


def _url(text: str) -> str:
    try:
        _broker(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


def _topic(text: str) -> str:
    if _TOPIC.fullmatch(text) is None or len(text) > 200:
        raise ValueError(f"{quote_short(text)} is not a topic; it looks like ccl or home/chargers")
    return text


def _file(name: str, info: Info) -> str:
    """The path of a file that can be read; a relative one is beside the configuration file."""
    folder = cast(fields.Surroundings, info.context).folder
    if folder is None:
        raise ValueError("names a file, which an inventory from elsewhere cannot")
    path = folder / name
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None
    return str(path)


Topic = Annotated[str, AfterValidator(_topic)]
File = Annotated[str, AfterValidator(_file)]


class MqttModel(fields.ConfigModel):
    """The broker."""

    url: Annotated[str, AfterValidator(_url)]
    username: fields.Text | None = None
    password: fields.Secret | None = Field(default=None, repr=False)
    password_file: fields.SecretFile | None = Field(default=None, repr=False)
    ca_file: File | None = None
    cert_file: File | None = None
    key_file: File | None = None
    topic: Topic = "ccl"
    discovery: Topic | None = None
    interval: fields.Interval = 15.0
    modules: fields.Modules = Field(default=["core"])
    single_values: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "MqttModel":
        if find_spec("paho") is None:
            raise ValueError(MQTT_EXTRA)
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError("a login is `username` and one of `password_file` and `password`")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("a client certificate is `cert_file` and `key_file`")
        if not _broker(self.url).tls and (self.ca_file or self.cert_file):
            raise ValueError("certificates need a URL that begins with mqtts://")
        if problem := self._certificates():
            raise ValueError(problem)
        return self

    def _certificates(self) -> str | None:
        """What is wrong with them; a key with a password is refused, as no person is there to enter it."""
        if self.ca_file is not None:
            try:
                ssl.create_default_context(cafile=self.ca_file)
            except (ssl.SSLError, OSError):
                return "`ca_file` holds no certificate in PEM"
        if self.cert_file is not None:
            try:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_cert_chain(self.cert_file, self.key_file, password=lambda: b"")
            except (ssl.SSLError, OSError, ValueError):
                return "`cert_file` and `key_file` are no certificate in PEM with its key, without a password"
        return None

    def settings(self) -> MqttSettings:
        broker = replace(
            _broker(self.url),
            credentials=fields.login(self.username, self.password, self.password_file),
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )
        return MqttSettings(
            broker,
            topic=self.topic,
            discovery=self.discovery or "",
            interval=self.interval,
            modules=tuple(self.modules),
            single_values=self.single_values,
        )


def _masked(settings: MqttSettings) -> Mapping[str, Any]:
    """The broker as it stands in a file, without secrets."""
    broker = settings.broker
    files = {key: getattr(broker, key) for key in ("ca_file", "cert_file", "key_file")}
    return MqttModel.masked(settings, url=broker.shown, **files, **fields.masked_login(broker.credentials))


def _open(settings: MqttSettings, context: OutputContext) -> Output:
    from ccl_exporter.outputs.mqtt.publisher import MqttPublisher  # noqa: PLC0415 - its library is an extra

    return MqttPublisher(settings, context.urls, context.state)


SECTION = Section(
    "mqtt",
    (MqttModel | None, None),
    "{url: mqtt://127.0.0.1:1883, discovery: homeassistant}",
    MqttSettings,
    lambda model, _: () if model is None else (model.settings(),),
    _masked,
    _open,
)
