"""The output to an MQTT broker: readings on their topics, and discovery messages for Home Assistant.

Only one exporter publishes on a topic (`ownership`). Another one keeps the newest messages, and publishes them if
it takes over. No message from the broker has an effect on a charger.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from time import time
from uuid import uuid4

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.mqtt.client import MqttClient
from ccl_exporter.outputs.mqtt.homeassistant import (
    MIGRATE,
    Place,
    Seen,
    device_of,
    discovery,
    identity,
    merged,
    seen,
    station_of,
)
from ccl_exporter.outputs.mqtt.ownership import ExporterId, TopicOwnership
from ccl_exporter.outputs.mqtt.payload import (
    OFFLINE,
    ONLINE,
    STATION,
    documents,
    level,
    listing,
    parse_listing,
    payload,
    scalars,
)
from ccl_exporter.outputs.output import ChargerReading
from ccl_exporter.settings import Module, MqttSettings
from ccl_exporter.text import file_key
from ccl_exporter.workers import Worker

_BIRTH = b"online"
_READINGS = (STATION, f"{STATION}/+", "plug/+", "plug/+/+", "device/+", "device/+/+")
"""What the topics of readings have behind the charger."""
_CHARGE = [family for family in f.CORE if family.name.startswith("ccl_charge_")]


class MqttPublisher:
    """Publishes readings on a broker.

    `chargers` returns the URLs of all chargers by name, or None while they are not known: then no topic of another
    charger is removed. `state` is the folder of the exporter's id.
    """

    name = "mqtt"
    max_age = 0.2
    """Maximum age of a reading in seconds, so that a change is published in time."""

    def __init__(
        self, settings: MqttSettings, chargers: Callable[[], Mapping[str, str] | None], state: Path
    ) -> None:
        self.settings = settings
        self.interval = settings.interval
        self.modules: Sequence[Module] = settings.modules
        self._chargers = chargers
        self._place = Place(settings.topic, settings.discovery)
        self._own = f"{settings.topic}/"
        self._listed = f"{self._own}chargers"
        self._birth = f"{settings.discovery}/status"
        old, listen = [self._listed, *(f"{self._own}+/{end}" for end in _READINGS)], []
        if settings.discovery:
            old.append(f"{settings.discovery}/device/+/config")
            listen.append(self._birth)
        # An id for each topic of each broker, as two exporters may share a folder.
        name = file_key(f"{settings.broker.shown}/{settings.topic}")
        self._id = ExporterId(state / f"mqtt-{name}.id")
        ownership = TopicOwnership(self._id.value, uuid4().hex[:16], settings.interval, time())
        self._client = MqttClient(settings, ownership, self._place.status, old, listen, self._received)
        self._network = Worker("mqtt_network", self._client.step)
        self.workers: Sequence[Worker] = (self._network,)
        # By charger (one thread at a time for each): its URL, topics, discovery messages, and keys seen so far.
        self._stations: dict[str, str] = {}
        self._topics: dict[str, frozenset[str]] = {}
        # By the topic level of a charger: what the broker retains of its readings, perhaps from before a restart.
        self._retained: dict[str, frozenset[str]] = {}
        self._gone: frozenset[str] = frozenset()  # topic levels of chargers that are not listed any more
        self._introduced: dict[str, Mapping[str, str]] = {}
        self._seen: dict[str, tuple[Seen, tuple[object, ...]]] = {}
        # By discovery topic, the identifier of the device to which its entities belong in Home Assistant.
        self._devices: dict[str, str] = {}
        self._old = old
        self._list = ""
        self._knew_all = True
        self._missed = 0

    def is_ready(self) -> bool:
        return True

    def stop(self) -> None:
        pass  # what is under way goes on until it is closed

    def close(self, deadline: float) -> None:
        self._network.stop()
        self._client.close(deadline)
        self._id.close()

    def missed(self, readings: int) -> None:
        self._missed += readings

    def samples(self) -> Iterator[Sample]:
        """The metrics of the publisher."""
        yield Sample(f.MQTT_CONNECTED, (), float(self._client.connected))
        yield Sample(f.MQTT_SENT, (), float(self._client.count))
        yield Sample(f.MQTT_MISSED, (), float(self._missed))

    def accept(self, reading: ChargerReading) -> None:
        name = reading.charger
        own = f"{self._own}{level(name)}"
        if self._stations.get(name, reading.url) != reading.url:
            # The name belongs to another charger now.
            self._forget(name, (self._chargers() or {}).values())
        self._stations[name] = reading.url
        messages = {}
        if reading.up:
            for place, document in documents(reading.samples).items():
                messages[f"{own}/{place}"] = payload({**document, "read_timestamp_seconds": reading.taken})
                if self.settings.single_values:
                    messages.update({f"{own}/{place}/{key}": text for key, text in scalars(document).items()})
            self._replace(name, messages)
            if self.settings.discovery:
                self._introduce(reading)
        self._client.publish_retained(f"{own}/status", ONLINE if reading.up else OFFLINE)

    def _forget(self, name: str, urls: Collection[str]) -> None:
        """Remove the discovery messages of a charger, unless it only got another name."""
        introduced = self._introduced.pop(name, {})
        if self._stations.pop(name, None) not in urls:
            for topic in introduced:
                self._devices.pop(topic, None)
                self._client.publish_retained(topic, "")
        self._seen.pop(name, None)

    def _replace(self, name: str, messages: Mapping[str, str]) -> None:
        """Publish the messages of a charger, and remove its other topics."""
        known = self._topics.get(name, frozenset()) | self._retained.pop(level(name), frozenset())
        for topic in known - messages.keys():
            self._client.publish_retained(topic, "")
        self._topics[name] = frozenset(messages)
        for topic, text in messages.items():
            self._client.publish_retained(topic, text)

    def _introduce(self, reading: ChargerReading) -> None:
        """Publish the discovery messages of a charger if they have changed."""
        name, found = reading.charger, reading.samples
        before, _ = self._seen.get(name, ({}, ()))
        about = next((sample.labels for sample in found if sample.family is f.STATION_INFO), ())
        titles = reading.title, {level(plug): title for plug, title in reading.plug_titles.items()}
        known = merged(before, seen(found, _CHARGE)), (about, titles)
        if self._seen.get(name) == known:
            return
        self._seen[name] = known
        station_info = dict(zip(f.STATION_INFO.labels, about, strict=False))
        messages = discovery(self._place, name, reading.url, known[0], station_info, *titles)
        self._introduced[name] = messages
        for topic, text in messages.items():
            self._announce(topic, text)

    def _announce(self, topic: str, text: str) -> None:
        """Publish a discovery message; if its entities belong to another device, have Home Assistant move them."""
        device = device_of(text) or ""
        if self._devices.get(topic, device) != device:
            self._client.publish_ahead(topic, MIGRATE)
        self._devices[topic] = device
        self._client.publish_retained(topic, text)

    def after_round(self) -> None:
        """Remove the topics of chargers that are gone, publish the list of chargers, send what was held back."""
        urls = self._chargers()
        if urls is not None:
            self._tidy(urls)
        self._knew_all = urls is not None
        self._client.catch_up()
        self._client.end_lookups()

    def _tidy(self, urls: Mapping[str, str]) -> None:
        if not self._knew_all:
            # Earlier lookups were ignored, as the chargers were not known.
            self._client.subscribe_once(self._old)
        for other in self._retained.keys() - {level(name) for name in urls}:
            self._retained.pop(other, None)
        for name in [name for name in list(self._stations) if name not in urls]:
            self._client.publish_retained(f"{self._own}{level(name)}/status", "")
            self._replace(name, {})
            self._forget(name, urls.values())
        # Last: if the process is killed before, the old list still names what has to be removed.
        if (now := listing(urls)) != self._list:
            self._list = now
            self._client.publish_retained(self._listed, now)

    def _received(self, topic: str, message: bytes, retained: bool) -> None:
        """Remove a retained message of a charger that is gone; send everything again if Home Assistant starts."""
        if topic == self._birth:
            if message == _BIRTH:
                self._client.send_again()
        elif not retained or not message:
            return
        elif self._is_reading(topic):
            name = self._level_of(topic)
            self._retained[name] = self._retained.get(name, frozenset()) | {topic}
        elif (urls := self._chargers()) is None:
            return
        elif topic == self._listed:
            # Others may publish below the same topic; only the topics of listed chargers are ours.
            if gone := parse_listing(message) - {level(name) for name in urls}:
                self._gone |= gone
                self._client.subscribe_once([f"{self._own}{name}/#" for name in gone])
        elif self._is_old(topic, message, urls):
            self._client.publish_retained(topic, "")
        elif device := device_of(message):
            self._devices[topic] = device
            for messages in list(self._introduced.values()):
                if topic in messages:
                    self._announce(topic, messages[topic])

    def _is_reading(self, topic: str) -> bool:
        """Whether a topic is that of a reading, of a charger that is not known to be gone."""
        return topic.startswith(self._own) and topic != self._listed and self._level_of(topic) not in self._gone

    def _level_of(self, topic: str) -> str:
        return topic.removeprefix(self._own).partition("/")[0]

    def _is_old(self, topic: str, message: bytes, urls: Mapping[str, str]) -> bool:
        if topic.startswith(self._own):
            name = self._level_of(topic)
            return name in self._gone and name not in {level(name) for name in urls}
        station = station_of(self._place, message)
        return station is not None and station not in {identity(url) for url in urls.values()}
