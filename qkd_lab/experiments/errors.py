"""What can be wrong with an experiment or its results."""


class ExperimentError(Exception):
    """An experiment or results that cannot be used; one line that names the file, the key and what was expected."""
