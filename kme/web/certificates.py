"""Certificates by issuer and serial number: the operator registers them, an SAE asks who it is."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, g, request

from kme.certificates import Certificates, certificate_in
from kme.errors import NotEntitled, NotHere
from kme.etsi014_schemas import SAE_INFO
from kme.web.documented import documented
from mutual_tls.app import answer


def certificate_routes(certificates: Certificates) -> Blueprint:
    """For the operator's listener."""
    routes = Blueprint("certificates", __name__)

    @routes.put("/v1/saes/<path:sae_id>/certificate")
    def register(sae_id: str) -> Response:
        name = certificate_in(request.get_data())
        is_new = certificates.register(sae_id, name)
        return answer(name.as_json(sae_id), 201 if is_new else 200)

    @routes.get("/v1/saes/<path:sae_id>/certificate")
    def registered(sae_id: str) -> Response:
        return answer([name.as_json(sae_id) for name in certificates.of(sae_id)])

    @routes.delete("/v1/saes/<path:sae_id>/certificate")
    def remove(sae_id: str) -> Response:
        certificates.remove(sae_id, certificate_in(request.get_data()))
        return Response(status=204)

    return routes


def info_routes(kme_id: str, admit: Callable[[str], None]) -> Blueprint:
    """For the SAEs' listener: whom this KME takes the caller for. `admit` raises NotEntitled for who is not known."""
    routes = Blueprint("info", __name__)

    @routes.get("/api/v1/sae/info/me")
    @documented("GET", "Whom this KME takes the caller for", "Not registered here: 404.", gives=SAE_INFO)
    def me() -> Response:
        request.get_data(cache=False)  # left unread, it would be taken for the next request
        try:
            admit(g.caller.id)
        except NotEntitled as error:
            if type(error) is not NotEntitled:
                raise  # known, but not served for a reason of its own: 401
            raise NotHere(error.message) from None
        return answer({"SAE_ID": g.caller.id, "KME_ID": kme_id})

    return routes
