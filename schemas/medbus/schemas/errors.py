"""The root of every error that medbus raises on purpose."""


class MedbusError(Exception):
    """Something went wrong that a person can act on.

    Args:
        message: what is wrong, with the value that is wrong in it.
        advice: what to do about it; empty where there is nothing to do.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".rstrip()


class SchemaError(MedbusError):
    """An event and its Avro schema do not fit, or a schema is not known."""


class InvalidEvent(SchemaError):
    """An event can't be encoded: a value of the wrong type, a naive time, or too large."""


class UndecodableRecord(SchemaError):
    """Bytes from a topic that are no event of ours, or that another schema wrote."""


class UnknownSchema(UndecodableRecord):
    """A record names a schema id that the registry, as last read, does not have."""


class BusError(MedbusError):
    """Kafka did not take or give what was asked of it."""


class TopicMisconfigured(BusError):
    """A topic's settings would lose or reorder events."""


class OffsetOutOfRange(BusError):
    """The log no longer holds the offset at which reading was to go on."""


class SettingsError(MedbusError):
    """A setting, an option or an argument is missing or wrong."""
