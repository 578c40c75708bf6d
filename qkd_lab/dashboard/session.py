"""Who may look and who may act. The page is for browsers of this host; acting needs the operator's session.

Nothing is kept: the cookie is a keyed hash of its own end, so a restart of the dashboard ends no session.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from urllib.parse import urlsplit

LIFE_S = 12 * 3600
# Any other name in `Host` is a name somebody else made point here (DNS rebinding). The port is whatever leads here.
HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Sessions:
    """`token` is the secret of `.lab/secrets/dashboard`; `clock` gives Unix seconds."""

    def __init__(self, token: str, clock: Callable[[], float]) -> None:
        self._token = token.encode()
        self._clock = clock

    def begin(self, token: str) -> str | None:
        """The session's cookie, for whoever knows the token."""
        # A JSON text may hold half a surrogate pair, which has no UTF-8.
        if not hmac.compare_digest(token.encode(errors="replace"), self._token):
            return None
        until = str(int(self._clock() + LIFE_S))
        return f"{until}.{self._hash('session', until)}"

    def holds(self, cookie: str) -> bool:
        until, _, proof = cookie.partition(".")
        if not (until.isascii() and until.isdecimal() and len(until) < 16):
            return False
        good = hmac.compare_digest(proof.encode(), self._hash("session", until).encode())
        return good and int(until) > self._clock()

    def csrf_token(self, cookie: str) -> str:
        """What the page sends beside the cookie, which another site can't read."""
        return self._hash("csrf", cookie)

    def is_csrf_token(self, cookie: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.csrf_token(cookie).encode())

    def _hash(self, purpose: str, text: str) -> str:
        return hmac.new(self._token, f"{purpose} {text}".encode(), hashlib.sha256).hexdigest()


def is_this_host(host: str) -> bool:
    """Whether a `Host` header names this host's loopback."""
    try:
        return urlsplit(f"//{host}").hostname in HOSTS
    except ValueError:
        return False


def is_same_site(host: str, origin: str | None, fetch_site: str | None) -> bool:
    """Whether a browser says that the page itself calls. What is no browser sends neither header."""
    return origin in (None, f"http://{host}") and fetch_site in (None, "same-origin", "none")
