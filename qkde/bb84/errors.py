"""What can go wrong in a round, as types. None of them ever carries key material."""


class Bb84Error(Exception):
    """Base of every error of this package."""

    @property
    def reason(self) -> str:
        """One line for a report or a message to the peer; never empty."""
        return (str(self) or type(self).__name__)[:400]


class InvalidParameter(Bb84Error, ValueError):
    """A round parameter is out of its range; the text names the parameter and the range."""


class MalformedMessage(Bb84Error, ValueError):
    """Bytes that are not one well-formed message, or a field of the wrong size."""


class ProtocolViolation(Bb84Error):
    """A well-formed message that is not legal here: out of order, or contradicting what came before."""


class RoundFailed(Bb84Error):
    """A check failed: the round ends with a report and without a key. The text is the report's `abort_reason`."""


class PeerUnreachable(Bb84Error):
    """Raised by a channel when no answer came in time, after whatever retries it makes by itself."""


class DeviceUnavailable(Bb84Error):
    """Raised by a source or a detector that cannot serve the frame."""
