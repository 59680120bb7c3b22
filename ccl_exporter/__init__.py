"""ccl-exporter: a Circontrol charger's whole state for Prometheus.

A charger is read politely into a `Snapshot`; policy turns the snapshot into `Sample`s; sinks write samples down.
"""

from importlib.metadata import version

__version__ = version("ccl-exporter")
