"""Which view a path leads to, remembered for the latest thousand: few clients ask for many paths."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flask import Request
from werkzeug.routing import Map, MapAdapter


def remembered(routes: Map) -> Callable[[Request | None], MapAdapter | None]:
    """For `Flask.create_url_adapter`. Of every host name the same is served, so it is not looked at, nor is a URL for
    anybody else made of it. All routes are there before the first request."""

    @lru_cache(1024)
    def of(path: str, method: str) -> MapAdapter:
        return _Remembering(routes, "", "/", routes.default_subdomain, "http", path, method)

    return lambda asked: of(asked.path, asked.method) if asked else None


class _Remembering(MapAdapter):
    _found: tuple[Any, Any] | None = None

    def match(self, *others: Any, **options: Any) -> Any:
        """As Flask asks: of the path and the method that it was made for. What leads nowhere is looked up again."""
        if others or options != {"return_rule": True}:
            return super().match(*others, **options)
        if self._found is None:
            self._found = super().match(return_rule=True)
        rule, values = self._found
        return rule, dict(values)
