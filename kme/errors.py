"""What a KME refuses or can't do, in domain terms. `kme.web.errors` maps each to an HTTP answer."""

from __future__ import annotations

from typing import Any


class KmeError(Exception):
    """The message is for the caller: it never holds key material. `details` are name-value pairs beside it."""

    def __init__(self, message: str, *details: dict[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class BadRequest(KmeError):
    """The request is malformed, out of range, or names something that does not exist."""


class NotEntitled(KmeError):
    """The caller is who it says, but this is not for it."""


class NotHere(KmeError):
    """What another process speaks of is not known here yet; it may ask again."""


class Conflict(KmeError):
    """It contradicts what is known; asking again gives the same answer."""


class Suspended(NotEntitled):
    """The caller is known, and an operator has suspended it."""


class TooManyRequests(KmeError):
    """A limit of the caller's; nothing was delivered. `retry_after_s`: when it may succeed, in whole seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(KmeError):
    """A store or another process does not answer, or there is too little key: worth trying again."""


class NotPrepared(Unavailable):
    """The database has no tables (any more)."""


class Unconfirmed(Unavailable):
    """What is shared with a peer waits until it has confirmed that nothing here is an old copy (`kme.witness`)."""

    def __init__(self, kme_id: str) -> None:
        super().__init__(
            f"what is shared with {kme_id} is not used until {kme_id} has confirmed that the stores here are not old"
            " copies: try again"
        )


class TooFewKeys(Unavailable):
    """Nothing was delivered, since not all could be."""

    def __init__(self, wanted_count: int, available_count: int) -> None:
        super().__init__(
            f"too few keys: {wanted_count} asked for, {available_count} available; none was delivered, try again later",
            {"available_key_count": available_count},
        )
        self.available_count = available_count
