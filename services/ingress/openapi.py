"""`GET /openapi.json`: the description of what the ingress answers."""

from importlib.metadata import version
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from libs.common.web.problems import JSON

_ADMITTED: Final = {
    "type": "object",
    "required": ["ok", "alert_id", "duplicate"],
    "properties": {
        "ok": {"const": True},
        "alert_id": {"type": "string", "pattern": "^[0-9a-v]{26}$"},
        "duplicate": {"type": "boolean", "description": "seen before; the id is the first alert's"},
    },
}
_REFUSED: Final = {
    "type": "object",
    "required": ["ok", "error", "event_id"],
    "properties": {
        "ok": {"const": False},
        "error": {
            "type": "object",
            "required": ["code", "detail", "field"],
            "properties": {
                "code": {"type": "string"},
                "detail": {"type": "string", "description": "what came and what was expected"},
                "field": {"type": ["string", "null"], "description": "the field of the body that is wrong"},
            },
        },
        "event_id": {"type": "string", "description": "names the refusal in `bascule events`"},
    },
}
_HEALTH: Final = {
    "type": "object",
    "required": ["status", "service"],
    "properties": {
        "status": {"enum": ["ok", "degraded"]},
        "service": {"const": "ingress"},
        "reason": {"type": "string"},
    },
}
_PREVIEW: Final = {
    "type": "object",
    "required": ["ok", "webhook", "dialect", "alert", "accounts", "dedup", "checks", "error"],
    "properties": {
        "ok": {"type": "boolean", "description": "a real post would be admitted, and trade"},
        "webhook": {"type": "string"},
        "dialect": {"type": ["string", "null"]},
        "alert": {"type": ["object", "null"]},
        "accounts": {"type": "array", "items": {"type": "object"}},
        "dedup": {"type": ["object", "null"]},
        "checks": {"type": "array", "items": {"type": "object"}},
        "error": {"type": ["object", "null"]},
    },
}
_REASONS: Final = {
    400: "neither JSON nor text of a known dialect",
    401: "a credential is missing or wrong",
    403: "a source address that the webhook does not take posts from",
    404: "no such webhook",
    408: "the body did not come in time",
    409: "the alert's id was given to another body before",
    413: "more bytes than the webhook takes",
    422: "not valid: the field, what came and what was expected",
    429: "more alerts than the webhook's rate lets in",
    500: "an error of ours: send it again, a repeat never trades twice",
    503: "not durable now: send it again",
}
_WITH_RETRY: Final = frozenset({429, 503})
_BODY: Final = {
    "required": True,
    "description": "an alert in any known dialect; docs/dialects.md",
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "text/plain": {"schema": {"type": "string"}},
        "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
    },
}
_TOKEN: Final = {
    "name": "token",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
}
_SIGNATURE: Final = {
    "name": "X-Signature",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "hexadecimal HMAC-SHA256 of the body, with or without `sha256=`; X-Signature-256 is the same",
}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _refusals(*statuses: int) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status in statuses:
        answer: dict[str, Any] = {
            "description": _REASONS[status],
            "content": _json({"$ref": "#/components/schemas/Refused"}),
        }
        if status in _WITH_RETRY:
            answer["headers"] = {
                "Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "seconds"}
            }
        answers[str(status)] = answer
    return answers


def _post(operation: str, summary: str, answer: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "post": {
            "operationId": operation,
            "summary": summary,
            "parameters": parameters,
            "requestBody": _BODY,
            "responses": {
                "200": {
                    "description": "the answer",
                    "content": _json({"$ref": f"#/components/schemas/{answer}"}),
                },
                **_refusals(*_REASONS),
            },
        }
    }


def document() -> dict[str, Any]:
    """Return the description as OpenAPI 3.1 has it."""
    alert = "Make an alert durable"
    show = "Show what an alert would do; nothing is stored or traded"
    return {
        "openapi": "3.1.0",
        "info": {"title": "Bascule", "version": version("bascule"), "license": {"name": "Apache-2.0"}},
        "paths": {
            "/webhook": _post("post_alert", alert, "Admitted", [_SIGNATURE]),
            "/tv-webhook": _post("post_alert_too", alert, "Admitted", [_SIGNATURE]),
            "/hooks/{token}": _post("post_alert_to_hook", alert, "Admitted", [_TOKEN, _SIGNATURE]),
            "/preview": _post("preview_alert", show, "Preview", [_SIGNATURE]),
            "/preview/{token}": _post("preview_alert_to_hook", show, "Preview", [_TOKEN, _SIGNATURE]),
            "/health": {
                "get": {
                    "operationId": "health",
                    "summary": "Whether an alert posted now would become durable",
                    "responses": {
                        str(status): {
                            "description": words,
                            "content": _json({"$ref": "#/components/schemas/Health"}),
                        }
                        for status, words in ((200, "it would"), (503, "it would not"))
                    },
                }
            },
        },
        "components": {
            "schemas": {"Admitted": _ADMITTED, "Refused": _REFUSED, "Preview": _PREVIEW, "Health": _HEALTH}
        },
    }


async def document_response(_: Request) -> Response:
    """Answer with the description."""
    return Response(orjson.dumps(document()), media_type=JSON[1].decode())
