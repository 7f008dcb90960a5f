"""An ApiError as an answer, in the form that the client reads: JSON (indented for people), or YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from carob.apiserver.negotiation import YAML, wants_pretty
from carob.transport.http import Response

if TYPE_CHECKING:
    from carob.api.status import ApiError
    from carob.transport.http import Request


def answer_of(error: ApiError, request: Request) -> Response:
    """The Status of an error."""
    headers = list(error.headers.items())
    if error.warnings:
        from carob.apiserver.handlers.get import warning_headers

        headers += warning_headers(list(error.warnings))
    if request.headers.get("accept", "").startswith(YAML):
        from carob.apiserver.yaml_text import to_yaml

        return Response(error.code, to_yaml(error.status()), YAML, headers)
    if wants_pretty("", request.headers.get("user-agent", "")):
        return Response(error.code, orjson.dumps(error.status(), option=orjson.OPT_INDENT_2), headers=headers)
    return Response(error.code, error.body(), headers=headers)
