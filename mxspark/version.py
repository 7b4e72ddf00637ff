"""The version of this package, alone: `setup.cfg` and every process read it without importing more."""

__version__ = "0.1.0"
