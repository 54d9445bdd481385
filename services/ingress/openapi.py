"""`GET /openapi.json`: the description of what the ingress answers."""

from importlib.metadata import version
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from libs.common.web.problems import JSON
from libs.common.wire.dialects.catalogue import DIALECTS
from libs.common.wire.dialects.dialect import PLACEHOLDER
from libs.common.wire.dialects.sample import Sample, sample_body

_ID: Final = {"type": "string", "pattern": "^[0-9a-v]{26}$"}
_NULLABLE_TEXT: Final = {"type": ["string", "null"]}
_ADMITTED: Final = {
    "type": "object",
    "required": ["ok", "alert_id", "duplicate"],
    "properties": {
        "ok": {"const": True},
        "alert_id": _ID,
        "duplicate": {"type": "boolean", "description": "seen before; the id is the first alert's"},
    },
    "additionalProperties": False,
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
                "code": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
                "detail": {
                    "type": "string",
                    "minLength": 1,
                    "description": "what came and what was expected",
                },
                "field": _NULLABLE_TEXT | {"description": "the field of the body that is wrong"},
            },
            "additionalProperties": False,
        },
        "event_id": _ID | {"description": "names the refusal in `bascule events`"},
    },
    "additionalProperties": False,
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
    "required": ["ok", "webhook", "dialect", "alert", "accounts", "ignored", "dedup", "checks", "error"],
    "properties": {
        "ok": {"type": "boolean", "description": "a real post would be admitted, and trade"},
        "webhook": {"type": "string"},
        "dialect": _NULLABLE_TEXT,
        "alert": {"type": ["object", "null"], "description": "what it means, whatever its dialect"},
        "accounts": {
            "type": "array",
            "items": {"type": "object"},
            "description": "what each would do with it",
        },
        "ignored": {
            "type": "array",
            "items": {"type": "string"},
            "description": "fields that its dialect does not read",
        },
        "dedup": {
            "type": ["object", "null"],
            "description": "what it is recognised by, and the first such alert",
        },
        "checks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["check", "passes", "detail"],
                "properties": {
                    "check": {"type": "string"},
                    "passes": {"type": "boolean"},
                    "detail": {"type": "string"},
                },
            },
        },
        "error": {
            "type": ["object", "null"],
            "description": "what a real post would be answered",
            "required": ["status", "code", "detail", "field"],
            "properties": {
                "status": {"type": "integer"},
                "code": {"type": "string"},
                "detail": {"type": "string"},
                "field": _NULLABLE_TEXT,
            },
        },
    },
    "additionalProperties": False,
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
    503: "not durable now, or Redis or a lane of the alert is full: send it again",
}
_WITH_RETRY: Final = frozenset({429, 503})
_SAMPLE: Final = Sample("BINANCE:ETHUSDT", "buy", "2411.35", "0.25", "Long", 1_793_697_301_000)
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


def _body() -> dict[str, Any]:
    written: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for dialect in DIALECTS:
        is_json, text = dialect.split is None, sample_body(dialect, _SAMPLE, PLACEHOLDER)
        value = orjson.loads(text) if is_json else text
        written[is_json][dialect.name] = {"summary": dialect.title, "value": value}
    return {
        "required": True,
        "description": "an alert in any known dialect, see docs/dialects.md; whatever type is declared, its form counts",
        "content": {
            "application/json": {"schema": {"type": "object"}, "examples": written[True]},
            "text/plain": {"schema": {"type": "string"}, "examples": written[False]},
            "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
        },
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
            "requestBody": {"$ref": "#/components/requestBodies/Alert"},
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
            "requestBodies": {"Alert": _body()},
            "schemas": {"Admitted": _ADMITTED, "Refused": _REFUSED, "Preview": _PREVIEW, "Health": _HEALTH},
        },
    }


async def document_response(_: Request) -> Response:
    """Answer with the description."""
    return Response(orjson.dumps(document()), media_type=JSON[1].decode())
