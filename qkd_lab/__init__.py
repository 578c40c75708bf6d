"""The whole network as one object: the `qkd-lab` command and what belongs to it."""

__version__ = "0.1.0"
