"""`bascule preview`: what an alert would do."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from libs.common.domain.ids import AccountName, Market, WebhookName
from libs.common.policy.authentication import HashedToken, hash_secret, token_digest
from libs.common.policy.symbols import SymbolEntry
from libs.common.policy.webhook import Demand, Webhook
from libs.common.store.tables import TableStore
from libs.common.wire.dialects.catalogue import BY_NAME
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

SECRET = "Sekret4711secret"
CONFIG = """
ingress: {trusted_proxies: [127.0.0.1], certificate_proxies: [127.0.0.1]}
webhooks:
  default: {secret: WEBHOOK_SECRET, accounts: [paper, strict]}
  urlonly: {token: URL_TOKEN, auth: [url], accounts: [paper], allow: [tradingview], dialect: traderspost}
  keyed: {token: URL_TOKEN, auth: [signature, certificate], signing_keys: [relay], accounts: [paper]}
signing_keys: {relay: RELAY_KEY}
accounts:
  paper: {broker: paper}
  strict: {broker: paper, symbols: strict, symbol_rules: [strip-perpetual]}
symbols:
  - {symbol: ETHUSDT, market: ETH/USDT, account: strict}
"""


@pytest.fixture(autouse=True)
def config(bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bridge.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("BASCULE_CONFIG", str(path))
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr("sys.prefix", "/nowhere/venv")
    return path


@pytest.fixture
def alert(tmp_path: Path) -> Path:
    return tmp_path / "alert.json"


def body(**fields: Any) -> str:
    values = {"secret": SECRET, "id": "one", "symbol": "ETHUSDT", "action": "buy", "quantity": "0.5"} | fields
    return json.dumps({name: value for name, value in values.items() if value is not None})


def credential(document: Any) -> Any:
    [check] = [one for one in document["checks"] if one["check"] == "credential"]
    return check


def test_an_alert_that_would_be_admitted_says_where_it_goes_and_why(
    bascule: CommandLine, alert: Path
) -> None:
    alert.write_text(body(symbol="ETHUSDT.P"))

    outcome = bascule("preview", str(alert), "--json")

    document = outcome.json
    assert (outcome.code, document["ok"], document["dialect"]) == (0, True, "factorqx")
    assert document["alert"]["symbol"] == "ETHUSDT.P"
    assert [(one["account"], one["market"], one["state"]) for one in document["accounts"]] == [
        ("paper", "ETHUSDT.P", "QUEUED"),
        ("strict", "ETH/USDT", "QUEUED"),
    ]
    assert "configuration's entry" in document["accounts"][1]["because"]
    assert (document["dedup"]["by"], document["dedup"]["is_new"]) == ("id", True)
    assert credential(document) == {
        "check": "credential",
        "passes": True,
        "detail": "it is the webhook's secret",
    }
    assert SECRET not in outcome.out
    assert bascule("events", "--json").json == []


@pytest.mark.parametrize("secret", ["e", "accounts", '"', ","])
def test_a_secret_that_is_a_part_of_anything_breaks_nothing(
    bascule: CommandLine, alert: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    alert.write_text(body(secret=secret))

    outcome = bascule("preview", str(alert), "--json")

    assert (outcome.code, outcome.json["ok"], outcome.err) == (0, True, "")


def test_people_see_the_same_as_tables(bascule: CommandLine, alert: Path) -> None:
    alert.write_text(body())

    outcome = bascule("preview", str(alert))

    assert outcome.code == 0
    assert "buy 0.5 units ETHUSDT" in outcome.out
    assert "ETH/USDT" in outcome.out
    assert "would be admitted" in outcome.out
    assert "new, known by its id for 1 d" in outcome.out
    assert SECRET not in outcome.out


def test_an_account_that_declines_is_shown_beside_one_that_takes_it(
    bascule: CommandLine, alert: Path
) -> None:
    alert.write_text(body(symbol="SOLUSDT"))

    document = bascule("preview", str(alert), "--json").json

    assert document["ok"]
    assert [(one["state"], one.get("reason")) for one in document["accounts"]] == [
        ("QUEUED", None),
        ("REJECTED", "unknown_symbol"),
    ]


def test_confirmed_entries_of_the_symbol_table_count(bascule: CommandLine, alert: Path) -> None:
    async def confirm(store: FilledStore) -> None:
        entry = SymbolEntry("SOLUSDT", Market("SOL/USDT"), account=AccountName("strict"))
        await TableStore(store.client, store.keys).put_symbol(entry, None)

    bascule.fill(confirm)
    alert.write_text(body(symbol="SOLUSDT"))

    document = bascule("preview", str(alert), "--json").json

    assert document["accounts"][1]["market"] == "SOL/USDT"
    assert "confirmed entry" in document["accounts"][1]["because"]


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        (body(action="by"), "invalid_action", "action"),
        (body(quantity="-1"), "invalid_number", "quantity"),
        (body(symbol="{{tickr}}"), "unfilled_placeholder", "symbol"),
        ("{", "not_json", None),
        ("hello", "unknown_dialect", None),
        (json.dumps({"secret": SECRET, "a": 1}), "unknown_dialect", None),
        (body(padding="x" * 20_000), "too_large", None),
    ],
)
def test_what_would_be_refused_is_told_with_its_field(
    bascule: CommandLine, alert: Path, raw: str, code: str, field: str | None
) -> None:
    alert.write_text(raw)

    outcome = bascule("preview", str(alert), "--json")

    assert outcome.code == 1
    assert (outcome.json["error"]["code"], outcome.json["error"]["field"]) == (code, field)
    people = bascule("preview", str(alert))
    assert people.code == 1
    assert code in people.out
    assert SECRET not in outcome.out + people.out


@pytest.mark.parametrize(
    ("presented", "passes", "detail"),
    [
        (SECRET, True, "it is the webhook's secret"),
        ("something else", False, "it is not the webhook's secret"),
        ("<SECRET>", False, "it is still <SECRET>: put the secret in its place"),
        (None, False, 'it is missing: put the secret in "secret"'),
    ],
)
def test_the_credential_is_checked(
    bascule: CommandLine, alert: Path, presented: str | None, passes: bool, detail: str
) -> None:
    alert.write_text(body(secret=presented))

    outcome = bascule("preview", str(alert), "--json")

    assert credential(outcome.json)["passes"] is passes
    assert credential(outcome.json)["detail"].startswith(detail)
    assert outcome.code == (0 if passes else 1)
    assert "something else" not in outcome.out


def test_a_secret_that_is_not_known_here_is_said_and_no_failure(
    bascule: CommandLine, alert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBHOOK_SECRET")
    alert.write_text(body(secret="-"))

    outcome = bascule("preview", str(alert), "--json")

    assert outcome.code == 0
    assert credential(outcome.json)["detail"] == "not checked: WEBHOOK_SECRET is not set here"


def test_the_template_of_a_dialect_as_it_is_pasted_is_told_to_hold_placeholders(
    bascule: CommandLine, alert: Path
) -> None:
    alert.write_text(BY_NAME["factorqx"].template)

    outcome = bascule("preview", str(alert), "--json")

    assert (outcome.code, outcome.json["error"]["code"]) == (1, "unfilled_placeholder")


def test_an_alert_that_is_too_old_is_told(bascule: CommandLine, alert: Path) -> None:
    alert.write_text(
        body(id=None, ticker="ETHUSDT", bascule=1, action="close_all", quantity=None)
        .replace('"symbol"', '"x"')
        .replace('"ticker"', '"symbol"')
        .replace("{", '{"fired_at": "2020-01-01T00:00:00Z", ', 1)
    )

    outcome = bascule("preview", str(alert), "--json")

    assert outcome.code == 1
    assert {one["check"]: one["passes"] for one in outcome.json["checks"]} == {
        "credential": True,
        "age": False,
    }
    assert "would not be traded; what fails: age" in bascule("preview", str(alert)).out


def test_a_halt_that_would_stop_it_is_told(bascule: CommandLine, alert: Path) -> None:
    alert.write_text(body())
    assert bascule("preview", str(alert), "--json").code == 0

    bascule("halt", "--mode", "reject", "--reason", "news")

    outcome = bascule("preview", str(alert), "--json")
    assert outcome.code == 1
    stopped = [one for one in outcome.json["checks"] if one["check"] == "halt"]
    assert len(stopped) == len(outcome.json["accounts"])
    assert not any(one["passes"] for one in stopped)
    assert "news" in stopped[0]["detail"]


def test_a_repetition_names_the_first_alert(
    bascule: CommandLine, alert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = body(id="same")

    async def admitted_before(store: FilledStore) -> None:
        from libs.common.policy.dedup import body_digest

        key = store.keys.seen(WebhookName("default"), "id:same")
        await store.client.set(key, f"first|{body_digest(raw.replace(SECRET, '***'))}", px=60_000)

    bascule.fill(admitted_before)
    alert.write_text(raw)

    document = bascule("preview", str(alert), "--json").json
    assert (document["dedup"]["is_new"], document["dedup"]["alert_id"]) == (False, "first")
    assert "as a duplicate" in bascule("preview", str(alert)).out
    alert.write_text(body(id="same", quantity="2"))
    assert bascule("preview", str(alert), "--json").json["error"]["code"] == "id_conflict"


def test_a_webhook_made_at_run_time_is_previewed_with_what_it_demands(
    bascule: CommandLine, alert: Path
) -> None:
    made = Webhook(
        name=WebhookName("made"),
        accounts=(AccountName("paper"), AccountName("gone")),
        tokens=(HashedToken(token_digest("token")),),
        secrets=(hash_secret("its own secret", "salt"),),
        is_disabled=True,
    )

    async def make(store: FilledStore) -> None:
        await TableStore(store.client, store.keys).put_webhook(made, None, "created")

    bascule.fill(make)
    alert.write_text(body(secret="its own secret"))

    outcome = bascule("preview", str(alert), "--webhook", "Made", "--json")

    assert (outcome.code, outcome.json["webhook"]) == (1, "made")
    assert credential(outcome.json)["passes"]
    assert "its own secret" not in outcome.out
    assert outcome.json["accounts"][1]["reason"] == "unknown_account"
    assert {
        "check": "webhook",
        "passes": False,
        "detail": "it is disabled: posts to it are answered 404",
    } in (outcome.json["checks"])


def test_what_a_file_cannot_show_is_said_to_be_unchecked(bascule: CommandLine, alert: Path) -> None:
    alert.write_text(body())

    keyed = bascule("preview", str(alert), "--webhook", "keyed", "--json")
    alert.write_text(json.dumps({"ticker": "ETHUSDT", "action": "buy", "quantity": 1}))
    url_only = bascule("preview", str(alert), "--webhook", "urlonly", "--json")

    assert (keyed.code, url_only.code) == (0, 0)
    details = {one["check"]: one["detail"] for one in keyed.json["checks"] + url_only.json["checks"]}
    assert all(details[name].startswith("not checked") for name in ("signature", "certificate", "address"))


def test_a_dialect_without_a_place_for_a_secret_relies_on_the_token(
    bascule: CommandLine, alert: Path
) -> None:
    made = Webhook(
        name=WebhookName("made"),
        accounts=(AccountName("paper"),),
        tokens=(HashedToken(token_digest("token")),),
        secrets=(hash_secret("its own secret", "salt"),),
        demands=(Demand.SECRET,),
    )

    async def make(store: FilledStore) -> None:
        await TableStore(store.client, store.keys).put_webhook(made, None, "created")

    bascule.fill(make)
    alert.write_text("ETHUSDT buy 0.5")

    assert bascule("preview", str(alert), "--webhook", "made").code == 0
    assert bascule("preview", str(alert)).code == 1


def test_a_webhook_that_is_not_there_is_told(bascule: CommandLine, alert: Path) -> None:
    alert.write_text(body())

    outcome = bascule("preview", str(alert), "--webhook", "nope")

    assert outcome.code == 1
    assert outcome.err == "bascule: no webhook nope: there are default, urlonly, keyed\n"


def test_a_dash_is_stdin(bascule: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body().encode())))

    assert bascule("preview", "-").code == 0


def test_what_a_dialect_does_not_read_is_named(bascule: CommandLine, alert: Path) -> None:
    alert.write_text(body(qty="5", timenow="2026-11-03T09:15:00Z", password="x"))

    outcome = bascule("preview", str(alert), "--json")
    assert (outcome.code, outcome.json["ignored"]) == (0, ["qty", "timenow"])
    assert "ignores   qty, timenow: not read by the dialect factorqx\n" in bascule("preview", str(alert)).out


def test_a_credential_in_the_place_of_a_name_is_not_shown(bascule: CommandLine, alert: Path) -> None:
    alert.write_text(body(**{SECRET: "5"}))
    outcome = bascule("preview", str(alert), "--json")
    assert outcome.json["ignored"] == ["***"]
    assert SECRET not in outcome.out


def test_where_all_is_read_nothing_is_said_of_what_is_not(bascule: CommandLine, alert: Path) -> None:
    alert.write_text(body())
    assert bascule("preview", str(alert), "--json").json["ignored"] == []
    assert "ignores" not in bascule("preview", str(alert)).out


def sizes(document: Any) -> list[tuple[bool, str]]:
    return [(one["passes"], one["detail"]) for one in document["checks"] if one["check"] == "quantity"]


def test_an_alert_without_a_quantity_says_what_each_account_trades(
    bascule: CommandLine, alert: Path, config: Path
) -> None:
    config.write_text(
        config.read_text().replace("paper: {broker: paper}", "paper: {broker: paper, default_quantity: 2}")
    )
    alert.write_text(body(quantity=None))

    outcome = bascule("preview", str(alert), "--json")

    assert outcome.code == 1
    assert sizes(outcome.json) == [
        (True, "the alert names none: account paper trades its default_quantity, 2"),
        (False, "the alert names none, and account strict has no default_quantity: it ends REJECTED there"),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bascule": 1, "action": "close_all", "quantity": None},
        {"bascule": 1, "action": "cancel", "quantity": None},
        {"bascule": 1, "action": "target", "position": "flat", "quantity": None},
    ],
)
def test_what_needs_no_default_says_nothing_of_it(
    bascule: CommandLine, alert: Path, fields: dict[str, Any]
) -> None:
    alert.write_text(body(**fields))
    outcome = bascule("preview", str(alert), "--json")
    assert (outcome.code, sizes(outcome.json)) == (0, [])
