"""What Home Assistant documents of its discovery messages for a device, as a schema that knows no other key.

Source: its documentation of the MQTT integration (device discovery, sensor, binary sensor) and of device classes.
The long form of the proof (tests/long/test_home_assistant.py) compares it with Home Assistant itself.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

UNITS = {
    "current": {"A", "mA"},
    "duration": {"d", "h", "min", "s", "ms"},
    "energy": {"Wh", "kWh", "MWh", "J", "kJ", "MJ", "GJ"},
    "enum": set[str](),
    "power": {"mW", "W", "kW", "MW"},
    "temperature": {"°C", "°F", "K"},
    "timestamp": set[str](),
    "voltage": {"µV", "mV", "V", "kV"},
}
"""By device class of a sensor, those that are used; empty is none."""

STATE_CLASSES = {
    "current": {"measurement"},
    "duration": {"measurement", "total", "total_increasing"},
    "energy": {"total", "total_increasing"},
    "enum": set[str](),
    "power": {"measurement"},
    "temperature": {"measurement"},
    "timestamp": set[str](),
    "voltage": {"measurement"},
}

SensorClass = Literal["current", "duration", "energy", "enum", "power", "temperature", "timestamp", "voltage"]
BinaryClass = Literal["battery_charging", "connectivity", "lock", "plug", "problem"]


def _topic(text: str) -> str:
    """A topic to listen to, of which each level is named."""
    assert text, "an empty topic"
    assert not set("+#\0") & set(text), f"{text!r} has a wildcard"
    assert all(text.split("/")), f"{text!r} has an empty level"
    return text


def _template(text: str) -> str:
    assert text.startswith("{{ "), text
    assert text.endswith(" }}"), text
    return text


def _url(text: str) -> str:
    assert text.startswith(("http://", "https://")), text
    return text


Topic = Annotated[str, AfterValidator(_topic)]
Template = Annotated[str, AfterValidator(_template)]
Url = Annotated[str, AfterValidator(_url)]
Text = Annotated[str, Field(min_length=1)]


class Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Device(Keys):
    configuration_url: Url | None = None
    connections: list[list[str]] | None = None
    hw_version: Text | None = None
    identifiers: Annotated[list[Text], Field(min_length=1)]
    manufacturer: Text | None = None
    model: Text | None = None
    model_id: Text | None = None
    name: Text
    serial_number: Text | None = None
    suggested_area: Text | None = None
    sw_version: Text | None = None
    via_device: Text | None = None


class Origin(Keys):
    name: Text
    sw_version: Text | None = None
    support_url: Url | None = None


class Availability(Keys):
    topic: Topic
    payload_available: Text | None = None
    payload_not_available: Text | None = None
    value_template: Template | None = None


class Shared(Keys):
    """What may stand beside the components for all of them, or in one."""

    availability: list[Availability] | None = None
    availability_mode: Literal["all", "any", "latest"] | None = None
    availability_template: Template | None = None
    availability_topic: Topic | None = None
    encoding: Text | None = None
    payload_available: Text | None = None
    payload_not_available: Text | None = None
    qos: Literal[0, 1, 2] | None = None
    state_topic: Topic | None = None


class Entity(Shared):
    enabled_by_default: bool | None = None
    entity_category: Literal["diagnostic"] | None = None
    entity_picture: Url | None = None
    expire_after: int | None = None
    force_update: bool | None = None
    icon: Text | None = None
    json_attributes_template: Template | None = None
    json_attributes_topic: Topic | None = None
    name: Text
    object_id: Text | None = None
    unique_id: Text
    value_template: Template | None = None


class BinarySensor(Entity):
    platform: Literal["binary_sensor"]
    device_class: BinaryClass | None = None
    off_delay: int | None = None
    payload_off: Text | None = None
    payload_on: Text | None = None


class Sensor(Entity):
    platform: Literal["sensor"]
    device_class: SensorClass | None = None
    last_reset_value_template: Template | None = None
    options: Annotated[list[Text], Field(min_length=1)] | None = None
    state_class: Literal["measurement", "total", "total_increasing"] | None = None
    suggested_display_precision: Annotated[int, Field(ge=0)] | None = None
    unit_of_measurement: Text | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Sensor":
        assert (self.options is None) == (self.device_class != "enum"), "options go with enum, and enum with them"
        assert self.options is None or len(set(self.options)) == len(self.options), "an option twice"
        assert self.last_reset_value_template is None or self.state_class == "total", "only a total is reset"
        if self.device_class is not None:
            units, classes = UNITS[self.device_class], STATE_CLASSES[self.device_class]
            assert (self.unit_of_measurement or "") in (units or {""}), self.unit_of_measurement
            assert self.state_class is None or self.state_class in classes, self.state_class
        return self


class Discovery(Shared):
    device: Device
    origin: Origin
    components: dict[Text, Annotated[Sensor | BinarySensor, Field(discriminator="platform")]]
