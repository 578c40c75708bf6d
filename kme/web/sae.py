"""The listener for SAEs: ETSI GS QKD 014."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from flask import Blueprint, Flask, Response, g, request
from werkzeug.routing import Rule

from kme import etsi014
from kme.admission import Admission
from kme.delivery import Delivery
from kme.errors import BadRequest
from kme.etsi014_schemas import KEY_CONTAINER, KEY_ID, KEY_IDS, KEY_REQUEST, NUMBER, SAE_ID, SIZE, STATUS
from kme.limits import check_sae_id, is_sae_id
from kme.model import KeyRequest
from kme.web.admission import limit_and_record
from kme.web.documented import Parameter, documented
from kme.web.errors import answer_errors
from kme.web.openapi import documents
from kme.web.presence import presence
from mutual_tls.app import answer, answer_text, listener_app
from mutual_tls.identity import Registered


def sae_app(
    delivery: Delivery,
    admission: Admission | None = None,
    *,
    registered: Registered | None = None,
    doors: Iterable[Blueprint] = (),
) -> Flask:
    """`registered`: whose a certificate is that names no SAE. `doors`: other APIs at the same listener
    (`kme.web.doors`, `kme.web.certificates`). Without `admission` calls are neither limited nor recorded where they are
    refused: for tests of the paths."""
    app = listener_app(
        "kme-sae",
        lambda caller: caller.role == "sae" and is_sae_id(caller.id),
        subject_counts=True,
        registered=registered,
    )
    app.url_rule_class = _ExactRule
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    if admission is not None:
        limit_and_record(app, admission)
    app.register_blueprint(_keys(delivery), url_prefix="/api/v1/keys")
    for door in doors:
        app.register_blueprint(door)
    app.wsgi_app = _RawPath(app.wsgi_app)  # type: ignore[method-assign]
    app.register_blueprint(documents(), url_prefix="/api/v1")
    return answer_errors(app)


_SLAVE = {"slave": Parameter("slave_SAE_ID", SAE_ID)}
_MASTER = {"master": Parameter("master_SAE_ID", SAE_ID)}


def _keys(delivery: Delivery) -> Blueprint:
    keys = Blueprint("keys", __name__)

    @keys.get("/<slave>/status")
    @documented("GET", "Status of the keys that the caller, a master, shares with a slave", path=_SLAVE, gives=STATUS)
    def status(slave: str) -> Response:
        _read_and_ignore_body()
        return answer(etsi014.status_json(delivery.status(g.caller.id, _sae_id(slave))))

    @keys.route("/<slave>/enc_keys", methods=["GET", "POST"])
    @documented("POST", "New keys, for the caller as master", path=_SLAVE, body=KEY_REQUEST, gives=KEY_CONTAINER)
    @documented(
        "GET",
        "The same with `number` and `size` alone",
        path=_SLAVE,
        query=[Parameter("number", NUMBER), Parameter("size", SIZE)],
        gives=KEY_CONTAINER,
    )
    def enc_keys(slave: str) -> Response:
        if request.method == "POST":
            wanted = etsi014.key_request(request.get_data())
        else:
            _read_and_ignore_body()
            wanted = _wanted(request.query_string)
        keys = delivery.enc_keys(g.caller.id, _sae_id(slave), wanted, presence(request.environ))
        return answer_text(etsi014.container_text(keys))

    @keys.route("/<master>/dec_keys", methods=["GET", "POST"])
    @documented(
        "POST",
        "The keys of these ids, for the caller as slave",
        "All of them, each for the only time; or, where one can't be delivered, none.",
        path=_MASTER,
        body=KEY_IDS,
        body_required=True,
        gives=KEY_CONTAINER,
    )
    @documented(
        "GET",
        "The same for one key",
        path=_MASTER,
        query=[Parameter("key_ID", KEY_ID, required=True)],
        gives=KEY_CONTAINER,
    )
    def dec_keys(master: str) -> Response:
        if request.method == "POST":
            key_ids = etsi014.key_ids(request.get_data())
        else:
            _read_and_ignore_body()
            key_ids = etsi014.key_id_in_query(_query())
        return answer_text(etsi014.container_text(delivery.dec_keys(g.caller.id, _sae_id(master), key_ids)))

    return keys


@lru_cache(1024)
def _wanted(query: bytes) -> KeyRequest:
    """What `query`, that of the present request, asks for. Most ask for the same again and again."""
    return etsi014.key_request_in_query(_query())


def _query() -> dict[str, list[str]]:
    return request.args.to_dict(flat=False)


def _read_and_ignore_body() -> None:
    """Some clients send a body with a GET. Left unread, it would be taken for the next request on the connection."""
    if "CONTENT_LENGTH" in request.environ:  # also of one in chunks (`mutual_tls.app`)
        request.get_data(cache=False)


def _sae_id(segment: str) -> str:
    try:
        sae_id = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("the SAE ID in the path is not UTF-8") from None
    return check_sae_id(sae_id, "the SAE ID in the path")


class _ExactRule(Rule):
    """A rule for the named methods alone: the automatic HEAD of a GET would deliver keys to nobody."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.methods:
            self.methods.discard("HEAD")


class _RawPath:
    """Routes by the path as it was sent, so that an SAE ID with `/` in it (`%2F`) stays one segment."""

    def __init__(self, wsgi_app: Any) -> None:
        self._wsgi_app = wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        if raw:
            environ["PATH_INFO"] = _routed(raw.split("?", 1)[0])
        else:  # a server that does not tell: then `/` in an id can't be told from a separator, the rest can
            environ["PATH_INFO"] = _routed(quote(environ["PATH_INFO"].encode("latin-1")))
        return self._wsgi_app(environ, start_response)


@lru_cache(1024)
def _routed(path: str) -> str:
    """What is routed for a path as it was sent."""
    if not path.startswith("/"):  # `https://kme:8000/path`: by hand, since urlsplit raises for some
        path = "/" + path.partition("://")[2].partition("/")[2]
    path = "/".join(quote(unquote_to_bytes(segment), safe="") for segment in path.split("/"))
    # Werkzeug drops slashes at the start, and would take `//api` for `/api`. No segment of ours is a slash.
    return f"/%2F{path}" if path.startswith("//") else path
