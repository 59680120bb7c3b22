"""ccl-exporter: Prometheus metrics of Circontrol and evolt chargers and any other PowerStudio engine.

A charger is read into a `Snapshot`, `station` says what its values mean, `metrics` makes samples of them,
and outputs write the samples down. README.md beside this file has the architecture and a glossary.
"""

__version__: str


def __getattr__(name: str) -> str:
    """The version is looked up when it is asked for: that takes as long as the start of the interpreter."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415 - see above

    return version("ccl-exporter")
