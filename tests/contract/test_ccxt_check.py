"""`python -m services.worker.check` and its words: what an exchange says about an account, without an order."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli import check_connect
from cli.findings import Verdict
from libs.common.domain.ids import AccountName
from libs.common.runtime.account_settings import CcxtAccount, LogAccount
from libs.common.runtime.settings import Settings
from libs.common.runtime.system_clock import SystemClock
from services.worker.check import Checked, check, in_json
from tests.contract.ccxt_answers import EXCHANGES
from tests.contract.ccxt_server import Reply, serve
from tests.contract.test_ccxt_questions import BALANCES
from tests.support.ports import free_port

ENVIRON = {"KEY": "key-of-a-test", "SECRET": "secret-of-a-test"}


def settings(url: str) -> Settings:
    account = CcxtAccount(exchange="binance", api_key="KEY", secret="SECRET", url=url)
    return Settings(accounts={AccountName("e"): account, AccountName("dry"): LogAccount()})


async def test_an_account_that_answers_tells_its_money_markets_and_clock() -> None:
    async with serve({**EXCHANGES[0].start, **BALANCES}) as server:
        found, dry = await check(settings(server.url), SystemClock(), ENVIRON)
        assert (found.error, found.place, found.equity) == (None, "url", "1199.100000000000000001")
        assert found.markets == 1
        assert found.skew_ms is not None
        assert abs(found.skew_ms) < 60_000
        assert (dry.error, dry.broker, dry.equity) == (None, "log", None)
        assert all(asked.method == "GET" for asked in server.asked)


@pytest.mark.parametrize("status", [401, 400])
async def test_a_key_that_is_refused_is_the_account_s_error(status: int) -> None:
    refusal = Reply({"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, status)
    async with serve({**EXCHANGES[0].start, "GET /api/v3/account": refusal}) as server:
        found, dry = await check(settings(server.url), SystemClock(), ENVIRON)
        assert "Invalid API-key" in str(found.error)
        assert "of-a-test" not in str(found.error)
        assert dry.error is None


async def test_a_missing_secret_is_one_account_s_error_only() -> None:
    found, dry = await check(settings("http://127.0.0.1:9"), SystemClock(), {})
    assert "secret KEY" in str(found.error)
    assert dry.error is None


def test_the_program_writes_one_document_without_secrets(tmp_path: Path) -> None:
    config = tmp_path / "bascule.yaml"
    config.write_text(
        "webhooks: {default: {secret: S, accounts: [e]}}\n"
        f"accounts: {{e: {{broker: ccxt, exchange: bybit, api_key: KEY, secret: SECRET, url: 'http://127.0.0.1:{free_port()}'}}}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "services.worker.check"],
        env={**os.environ, **ENVIRON, "BASCULE_CONFIG": str(config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (found,) = json.loads(done.stdout)
    assert (done.returncode, found["account"], found["place"]) == (0, "e", "url")
    assert found["error"]
    assert "of-a-test" not in done.stdout + done.stderr


@pytest.mark.parametrize("secret", ["e", "account", "null", ",", '"', "[", "1", "\\", "ccxt"])
def test_a_secret_that_is_a_part_of_anything_leaves_the_document_whole(secret: str) -> None:
    found = Checked(
        account=AccountName("e"),
        broker="ccxt",
        skew_ms=11,
        equity="1.1",
        currency="EUR",
        error=f"the venue said <{secret}>",
    )
    (document,) = json.loads(in_json([found], {secret}))
    told = {name: value for name, value in document.items() if name != "error"}
    assert told == {name: value for name, value in msgspec.to_builtins(found).items() if name != "error"}
    assert "<***>" in document["error"]


def facts(**more: Any) -> dict[str, Any]:
    found = {
        "account": "e", "broker": "ccxt", "exchange": "bybit", "market_type": "spot", "place": "testnet", "markets": 5,
        "skew_ms": 12, "equity": "100", "currency": "USDT", "error": None,
    }  # fmt: skip
    return {**found, **more}


@pytest.mark.parametrize(
    ("found", "verdicts", "words"),
    [
        (
            facts(),
            [Verdict.OK],
            "bybit spot, sandbox (testnet): answers, and takes the key, balance 100 USDT, 5 markets",
        ),
        (facts(place="live"), [Verdict.OK, Verdict.WARNING], "orders trade REAL MONEY"),
        (facts(skew_ms=-2_000), [Verdict.OK, Verdict.WARNING], "2000 ms behind the exchange's"),
        (facts(error="no"), [Verdict.WRONG], "bybit spot, sandbox (testnet): no"),
        (facts(broker="log", exchange=None, place=None, equity=None), [Verdict.OK], "nothing to connect to"),
        (
            facts(broker="http", exchange=None, place=None, equity=None, markets=None, skew_ms=None),
            [Verdict.OK],
            "http: answers",
        ),
    ],
    ids=str,
)
def test_the_words_say_what_was_found(found: dict[str, Any], verdicts: list[Verdict], words: str) -> None:
    findings = check_connect._account(found)
    assert [one.verdict for one in findings] == verdicts
    assert words in "\n".join(one.detail for one in findings)
