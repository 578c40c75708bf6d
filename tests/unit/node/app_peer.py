"""Processes of a network in one: each calls the others' real applications, without sockets or TLS."""

from mutual_tls.app import CALLER
from mutual_tls.client import Refused, Reply


class AppPeer:
    """Calls another process's application in this one; what it carries is never shown."""

    def __init__(self, app, caller, identity):
        self._app, self._caller, self.identity = app, caller, identity

    def request(self, method, path, *, params=None, json=None, octets=None, timeout_s=None):
        answer = self._app.test_client().open(
            path, method=method, query_string=params, json=json, data=octets, environ_overrides={CALLER: self._caller}
        )
        if answer.status_code >= 300:
            raise Refused(answer.status_code, answer.json["message"])
        return Reply(answer.status_code, answer.data)
