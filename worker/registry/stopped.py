"""How a source of schemas ends."""


class SchemasStopped(Exception):
    """A thread of the source has ended, so there will be no answers. The message says why."""
