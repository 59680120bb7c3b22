"""ccl-exporter: Prometheus metrics of Circontrol and evolt chargers and any other PowerStudio engine.

A charger is read into a `Snapshot`, `station` says what its values mean, `metrics` makes samples of them,
and outputs write the samples down. README.md beside this file has the architecture and a glossary.
"""

from importlib.metadata import version

__version__ = version("ccl-exporter")
