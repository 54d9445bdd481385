from pathlib import Path

from libs.common.domain.ids import AccountName, WebhookName
from libs.common.runtime.account_settings import CcxtAccount, HttpAccount, LogAccount
from libs.common.runtime.known_secrets import known_secrets
from libs.common.runtime.settings import RedisSettings, Settings
from libs.common.runtime.webhook_settings import WebhookSettings

SETTINGS = Settings(
    webhooks={WebhookName("default"): WebhookSettings(secret="HOOK", accounts=(AccountName("desk"),))},
    accounts={
        AccountName("desk"): HttpAccount(url="http://me:venue-pass@127.0.0.1:9", secret="DESK"),
        AccountName("dry"): LogAccount(),
    },
)


def test_every_secret_that_the_settings_name_is_known(tmp_path: Path) -> None:
    (tmp_path / "desk").write_text("desk-key\n")
    environ = {"HOOK": "hook-secret", "DESK_FILE": str(tmp_path / "desk"), "OTHER": "not ours"}
    assert known_secrets(SETTINGS, environ) == {"hook-secret", "desk-key", "venue-pass"}


def test_those_of_other_services_may_be_missing_or_unreadable() -> None:
    assert known_secrets(SETTINGS, {"HOOK": "", "DESK_FILE": "/nowhere/desk"}) == {"venue-pass"}


def test_passwords_of_addresses_are_known_as_written_and_as_meant() -> None:
    def of(url: str) -> set[str]:
        return known_secrets(Settings(redis=RedisSettings(url=url)), {})

    assert of("redis://user:p%40ss@127.0.0.1:6379/0") == {"p%40ss", "p@ss"}
    assert of("unix:///run/redis.sock?db=1&password=hidden") == {"hidden"}
    assert of("redis://127.0.0.1:6379/0") == set()
    assert of("redis+cluster://user:p%40ss@one:1,two:2") == {"p%40ss", "p@ss"}
    assert of("redis+sentinel://user:one@a,b/desk?sentinel_password=tw%40") == {"one", "tw%40", "tw@"}


def test_an_exchange_s_key_is_known_in_all_its_parts() -> None:
    account = CcxtAccount(
        exchange="okx", api_key="KEY", secret="SECRET", password="PASS", url="http://u:pw@127.0.0.1:9"
    )
    settings = Settings(accounts={AccountName("e"): account})
    environ = {"KEY": "the-key", "SECRET": "the-secret", "PASS": "the-passphrase"}
    assert settings.secret_names() == dict.fromkeys(environ, "account e")
    assert known_secrets(settings, environ) == {"the-key", "the-secret", "the-passphrase", "pw"}
