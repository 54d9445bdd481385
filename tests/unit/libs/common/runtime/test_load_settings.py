import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.load_settings import settings_from_environment, settings_path
from libs.common.runtime.settings import Settings
from tests.unit.libs.common.runtime.conftest import BASE


@pytest.fixture
def refusal(load):
    def refusal_of(text, environ=None):
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        line = str(caught.value)
        assert "\n" not in line
        return line.partition("my.yaml: ")[2] or line

    return refusal_of


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("worker: {lease: 6}", "worker.lease: got 6, expected a duration such as 500ms"),
        ("worker: {concurency: 5}", "worker.concurency: there is no such key; did you mean concurrency?"),
        ("worker:", "worker: got nothing, expected a section with keys"),
        ("worker: {concurrency: 0}", "worker.concurrency: got 0, expected a whole number >= 1"),
        ("worker: {concurrency: many}", 'worker.concurrency: got "many", expected a whole number'),
        ("worker: {concurrency: true}", "worker.concurrency: got true, expected a whole number"),
        ("wrker: {}", "wrker: there is no such key; did you mean worker?"),
        ("redis: {durability: maybe}", 'redis.durability: got "maybe", expected always or everysec or declared or none'),
        ("redis: {shards: 0}", "redis.shards: got 0, expected a whole number >= 1"),
        ("redis: {shards: '1'}", 'redis.shards: got "1", expected a whole number'),
        ("redis: {url: 'http://x'}", 'redis.url: got "http://x", expected a redis://, rediss://, unix://, '),
        ("breaker: {rate: off}", 'breaker.rate: got "off", expected a number'),
        ("breaker: {rate: 2}", "breaker.rate: got 2, expected a number <= 1"),
        ("limits: {symbol: {rate: x, burst: 1}}", 'limits.symbol.rate: got "x", expected a rate such as 5/s'),
        ("limits: {symbol: {rate: , burst: 1}}", "limits.symbol.rate: got"),
        ("limits: {symbol: {rate: 1/s, burst: 99999999999999999999}}", "limits.symbol.burst: got 99999999999999999999, expected a whole number <= 1000000000"),
        ('limits: "a\\nb\\e"', r'limits: got "a\nb\x1b", expected a section with keys'),
        ('ingress: {public_url: "http://[::1"}', 'ingress.public_url: got "http://[::1", expected an http'),
        ('ingress: {public_url: "http://x:99999"}', "ingress.public_url: got"),
        ('ingress: {public_url: "https://x y"}', "ingress.public_url: got"),
        ("limits: {symbol: off}", 'limits.symbol: got "off", expected a section with keys'),
        ("ingress: {port: 80800}", "ingress.port: got 80800, expected a whole number <= 65535"),
        ("ingress: {deadline: 4s}", 'ingress.deadline: got "4s", expected at most 3s, for TradingView hangs up then'),
        ('redis: {url: "redis://host:port/0"}', 'redis.url: got "redis://host:port/0", expected a redis://'),
        ("ingress: {port: 9101}", "ingress.ops_port: expected another port than `port`"),
        ("ingress: {public_url: hooks.example.com}", "ingress.public_url: got"),
        ("worker: {lease: 1s}", "worker.lease: got 1s, expected at least 1500ms"),
        ("webhooks: {}", "line 4, column 1: the key 'webhooks' stands twice in one section"),
        ("reaper: {interval: 1s, interval: 2s}", "line 4, column 24: the key 'interval' stands twice in one section"),
        ("reaper: {1: 2}", "line 4, column 10: the key 1 is not a text; put it in quotes"),
        ("reaper: [", "line 5, column 1: "),
        ("  b: {broker: ftp}", 'accounts.b.broker: got "ftp", expected paper or log or http'),
        ("  b: {}", "accounts.b.broker: this key is required, expected paper or log or http"),
        ("  b: {broker: log, url: x}", "accounts.b.url: there is no such key; there are broker, "),
        ("  b: {broker: http, url: 'http://x'}", "accounts.b.secret: this key is required"),
        ("  b: {broker: http, url: 'x', secret: A}", 'accounts.b.url: got "x", expected an http://'),
        ("  b: {broker: http, url: 'http://x', secret: s3-cret}", "accounts.b.secret: got"),
        ("  b: {broker: paper, default_quantity: 0}", "accounts.b.default_quantity: got 0, expected a number above 0"),
        ("  b: {broker: paper, default_price: 'NaN'}", 'accounts.b.default_price: got "NaN", expected a number above 0'),
        ("  b: {broker: paper, default_quantity: lots}", 'accounts.b.default_quantity: got "lots", expected a number'),
        ("  b: {broker: paper, cash: -1}", "accounts.b.cash: got -1, expected a number of at least 0"),
        ("  b: {broker: log, limits: {symbols: {A: {rate: 1/s}, B: {rate: z}}}}", 'accounts.b.limits.symbols.B.rate: got "z"'),
        ("  b: {broker: log, lane_by: size}", 'accounts.b.lane_by: got "size", expected symbol or strategy'),
        ("  b: {broker: [log]}", "accounts.b.broker: got a list, expected paper or log or http or ccxt"),
        ("  b: {broker: log, limits: {symbol: {}}}", "accounts.b.limits.symbol.rate: this key is required"),
        ("  b: {broker: paper, currency: euro}", 'accounts.b.currency: got "euro", expected a text matching regex'),
        ("  b: {broker: log, limits: {symbols: [A]}}", "accounts.b.limits.symbols: got a list, expected a section with keys"),
        ("  b: 3", "accounts.b: got 3, expected a section with keys"),
        ("  'a:b': {broker: log}", 'accounts: got "a:b", expected a name of at most 64'),
        ("  '{a}': {broker: log}", 'accounts: got "{a}", expected a name'),
        ("  a b: {broker: log}", 'accounts: got "a b", expected a name'),
        ("  b: {broker: http, url: 'http://127.0.0.1:9009/', secret: DESK_SECRET}", "accounts.b: has the same url and secret as accounts.desk"),
        ("  b: {broker: ccxt, exchange: bybit, api_key: K}", "accounts.b.secret: this key is required"),
        ("  b: {broker: ccxt, exchange: bybit, api_key: 'a-b', secret: S}", "accounts.b.api_key: got ***"),
        ("  b: {broker: ccxt, exchange: Bybit, api_key: K, secret: S}", 'accounts.b.exchange: got "Bybit"'),
        ("  b: {broker: ccxt, exchange: okx, api_key: K, secret: S, market_type: margin}", "accounts.b.market_type: got"),
        ("  b: {broker: ccxt, exchange: okx, api_key: K, secret: S, live: true, demo: true}", "accounts.b.demo: got true"),
        ("  b: {broker: ccxt, exchange: okx, api_key: K, secret: S, url: 'http://x/y'}", "accounts.b.url: got"),
        (
            "  b: {broker: ccxt, exchange: okx, api_key: K, secret: S}\n  c: {broker: ccxt, exchange: okx, api_key: K, secret: S}",
            "accounts.c: has the same exchange, market_type and api_key as accounts.b",
        ),
        ("  b: {broker: http, url: 'http://[::1', secret: S}", 'accounts.b.url: got "http://[::1", expected an http'),
        ("  b: {broker: http, url: 'http://x:99999', secret: S}", "accounts.b.url: got"),
        ('  b: {broker: http, url: "http://x\\ny", secret: S}', r'accounts.b.url: got "http://x\ny", expected'),
        ("  b: {broker: ccxt, exchange: okx, api_key: K, secret: S, url: 'https://[::1'}", "accounts.b.url: got"),
        ("  b: {broker: paper, request_expiry: 5001ms}", "accounts.b.request_expiry: got 5001ms, expected at most worker.lease (6s)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(refusal, text, line):
    assert refusal(f"{BASE}{text}\n").startswith(line)


@pytest.mark.parametrize(
    ("accounts", "line"),
    [
        ("[desk, foo]", 'webhooks.default.accounts: there is no account "foo"; there are desk'),
        ("[]", "webhooks.default.accounts: got a list, expected a list with at least one account, each once"),
        ("[desk, desk]", "webhooks.default.accounts: got a list, expected"),
        ("desk", 'webhooks.default.accounts: got "desk", expected a list'),
        ("[3]", "webhooks.default.accounts.0: got 3, expected a text"),
    ],
)
def test_a_webhook_names_accounts_that_there_are(refusal, accounts, line):
    assert refusal(BASE.replace("[desk]", accounts)).startswith(line)


def test_two_accounts_may_share_a_url_under_two_keys(load):
    load(f"{BASE}  b: {{broker: http, url: 'http://127.0.0.1:9009', secret: OTHER}}\n")


@pytest.mark.parametrize("text", ["", "accounts: {}", "webhooks: {}"])
def test_a_file_without_accounts_or_webhooks_is_refused(refusal, text):
    assert "required" in refusal(text)


WEBHOOKS = """\
ingress: {certificate_proxies: [127.0.0.1], addresses: {office: [203.0.113.0/24]}}
signing_keys: {relay: RELAY_KEY, other: OTHER_KEY}
webhooks:
  default: {secret: WEBHOOK_SECRET, accounts: [desk]}
  hook: {token: HOOK_TOKEN, HOOK}
accounts:
  desk: {broker: http, url: "http://127.0.0.1:9009", secret: DESK_SECRET}
"""


def with_hook(text):
    accounts = "" if "accounts:" in text else "accounts: [desk], "
    return WEBHOOKS.replace("HOOK}", f"{accounts}{text}}}")


@pytest.mark.parametrize(
    "hook",
    [
        "secret: S",
        "auth: [url]",
        "auth: [signature], signing_keys: [relay, other]",
        "auth: [signature], secret: S",
        "auth: [certificate]",
        "auth: [secret, signature, certificate], secret: S, signing_keys: [relay]",
        "auth: [url], dialect: nova",
        "auth: [url], allow: [tradingview, office, 198.51.100.7, '2001:db8::/32', any]",
        "auth: [url], only: {actions: [buy, close_all], exchanges: [BINANCE], symbols: ['BTC*']}",
        "auth: [url], rate: 30/min, burst: 120",
        "auth: [url], dedup: 1h, dedup_bar: 1min, dedup_body: 1s, entries_per_bar: 50",
    ],
)
def test_a_named_webhook_may_say(load, hook):
    assert "hook" in load(with_hook(hook)).webhooks


@pytest.mark.parametrize(
    ("hook", "line"),
    [
        ("secret: not-a-variable", 'secret: got ***, expected the name of an environment variable, never the secret itself'),
        ("auth: [secret]", "secret: expected the name of an environment variable, never the secret itself, since `auth` demands it"),
        ("auth: []", "auth: got a list, expected [url] alone, or some of secret, signature, certificate"),
        ("auth: [url, secret], secret: S", "auth: got a list, expected [url] alone"),
        ("auth: [password]", 'auth.0: got "password", expected url or secret or signature or certificate'),
        ("auth: url", 'auth: got "url", expected a list'),
        ("auth: [signature]", "signing_keys: expected a list of keys, since `auth` demands a signature"),
        ("auth: [signature], signing_keys: [nope]", 'signing_keys: there is no signing key "nope"; there are relay, other'),
        ("auth: [url], allow: [nowhere]", 'allow: "nowhere" is no address: expected an IP address, a CIDR block such as 10.0.0.0/8, or office, tradingview, any'),
        ("auth: [url], allow: [10.0.0.1/8]", 'allow: "10.0.0.1/8" has bits set beyond its prefix: expected 10.0.0.0/8'),
        ("auth: [url], allow: tradingview", 'allow: got "tradingview", expected a list'),
        ("auth: [url], dialect: morse", 'dialect: got "morse", expected '),
        ("auth: [url], options: {risk: units}", "options: got a section, expected no value where no dialect is named"),
        ("auth: [url], dialect: nova, options: {risk: units}", "options: got a section, expected no value"),
        ("auth: [url], dialect: pineconnector, options: {size: lots}", "options: got a section, expected some of risk"),
        ("auth: [url], dialect: pineconnector, options: {risk: lots}", "options: got a section, expected risk to be "),
        ("auth: [url], only: {actions: [hold]}", 'only.actions.0: got "hold", expected buy or sell or '),
        ("auth: [url], only: {markets: [A]}", "only.markets: there is no such key; there are actions, exchanges, symbols"),
        ("auth: [url], rate: 0/s", 'rate: got "0/s", expected a rate such as 5/s'),
        ("auth: [url], burst: 5", "burst: got 5, expected no value where `rate` is off"),
        ("auth: [url], rate: 5/s, burst: 0", "burst: got 0, expected a whole number >= 1"),
        ("auth: [url], max_body: 255", "max_body: got 255, expected a whole number >= 256"),
        ("auth: [url], entries_per_bar: 51", "entries_per_bar: got 51, expected a whole number <= 50"),
        ("auth: [url], dedup_body: 0s", 'dedup_body: got "0s", expected a duration of at least 1ms'),
        ("auth: [url], accounts: []", "accounts: got a list"),
    ],
)  # fmt: skip
def test_what_a_named_webhook_cannot_say_is_named_by_its_key(refusal, hook, line):
    assert refusal(with_hook(hook)).startswith(f"webhooks.hook.{line}")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("token: HOOK_TOKEN, ", "", "webhooks.hook.token: this key is required: the token makes the URL, /hooks/<token>"),
        ("token: HOOK_TOKEN", "token: hook-token", 'webhooks.hook.token: got ***, expected the name of'),
        ("  hook:", "  a/b:", 'webhooks: got "a/b", expected a name of at most 64'),
        ("secret: WEBHOOK_SECRET", "secret: WEBHOOK_SECRET, token: T", "webhooks.default.token: POST /webhook has none; remove this key"),
        ("secret: WEBHOOK_SECRET", "auth: [url]", "webhooks.default.auth: expected secret or signature among them"),
        ("secret: WEBHOOK_SECRET", "auth: [certificate]", "webhooks.default.auth: expected secret or signature among them"),
        ("RELAY_KEY", "relay-key", "signing_keys.relay: got ***, expected the name of an environment variable"),
        ("certificate_proxies: [127.0.0.1], ", "", "webhooks.hook.auth: certificate needs a proxy that verifies it: ingress.certificate_proxies names none"),
        ("[127.0.0.1]", "[any]", 'ingress.certificate_proxies.0: got "any", expected an IP address or a CIDR block'),
        ("ingress: {", "ingress: {trusted_proxies: [127.0.0.1, proxy], ", 'ingress.trusted_proxies.1: got "proxy", expected an IP address or a CIDR block'),
        ("ingress: {", "ingress: {trusted_proxies: [any], ", 'ingress.trusted_proxies.0: got "any", expected an IP address or a CIDR block'),
        ("ingress: {", "ingress: {trusted_proxies: [10.0.0.1/8], ", 'ingress.trusted_proxies.0: got "10.0.0.1/8", expected an IP address or a CIDR block such as 10.0.0.0/8 without bits'),
        ("203.0.113.0/24", "office", 'ingress.addresses.office.0: got "office", expected an IP address'),
        ("203.0.113.0/24", "any", 'ingress.addresses.office.0: got "any", expected an IP address'),
        ("office:", "any:", "ingress.addresses.any: a set cannot be called that"),
        ("office:", "10.0.0.1:", "ingress.addresses.10.0.0.1: a set cannot be called that"),
        ("accounts:\n", "symbols: [{symbol: 'X:A', market: B}]\naccounts:\n", 'symbols.0.symbol: got "X:A", expected a symbol without an exchange'),
        ("accounts:\n", "symbols: [{symbol: A, market: 'a b'}]\naccounts:\n", 'symbols.0.market: got "a b", expected at most 64 letters'),
        ("accounts:\n", "symbols: [{symbol: A, market: B, account: nobody}]\naccounts:\n", 'symbols.0.account: there is no account "nobody"; there are desk'),
        ("DESK_SECRET", "DESK_SECRET, symbols: lax", 'accounts.desk.symbols: got "lax", expected as-sent or strict'),
        ("DESK_SECRET", "DESK_SECRET, symbol_rules: [shout]", 'accounts.desk.symbol_rules.0: got "shout", expected strip-exchange or strip-perpetual or strip-separator'),
        ("DESK_SECRET", "DESK_SECRET, only: {actions: [hold]}", 'accounts.desk.only.actions.0: got "hold", expected buy or sell'),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_named_by_its_key(refusal, old, new, line):
    text = with_hook("auth: [certificate]")
    assert old in text
    assert refusal(text.replace(old, new, 1)).startswith(line)


def test_proxies_may_be_a_set_of_our_own(load):
    text = with_hook("auth: [certificate]").replace("[127.0.0.1]", "[office]")
    assert load(text).ingress.certificate_proxies == ("office",)


def test_a_set_of_our_own_may_replace_that_of_tradingview(load):
    settings = load(with_hook("auth: [url], allow: [tradingview]").replace("office:", "tradingview:"))
    assert settings.ingress.addresses == {"tradingview": ("203.0.113.0/24",)}


def test_a_default_webhook_is_required(refusal):
    renamed = BASE.replace("default:", "other:")
    assert refusal(renamed) == "webhooks.default: this key is required: POST /webhook serves it"


@pytest.mark.parametrize("name", ["breaker", "rate", "off"])
def test_an_account_may_have_any_name(load, name):
    text = f'{BASE}  {name}: {{broker: log, limits: {{symbol: {{rate: "off"}}}}}}\n'
    assert load(text).accounts[name].limits.symbol.rate.is_off


def test_a_body_limit_has_a_ceiling(refusal):
    text = BASE.replace("accounts: [desk]}", "accounts: [desk], max_body: 40961}")
    assert refusal(text) == "webhooks.default.max_body: got 40961, expected a whole number <= 40960"


def test_redis_url_of_the_environment_comes_first(load, refusal, tmp_path):
    url = "redis://:pw@h/3"
    assert load(BASE, {"REDIS_URL": url}).redis.url == url
    (tmp_path / "url").write_text(f"{url}\n")
    assert load(BASE, {"REDIS_URL_FILE": str(tmp_path / "url")}).redis.url == url
    assert refusal(BASE, {"REDIS_URL": "h:6379"}).startswith("REDIS_URL: expected a redis://")


def test_the_ops_port_of_the_environment_comes_first(load, refusal):
    settings = load(BASE, {"BASCULE_OPS_PORT": "9999"})
    assert settings.ingress.ops_port == settings.worker.ops_port == settings.reaper.ops_port == 9_999
    for wrong in ("", "x", "0", "65536", "²"):
        assert "BASCULE_OPS_PORT" in refusal(BASE, {"BASCULE_OPS_PORT": wrong})


def test_the_environment_names_the_file(tmp_path):
    with pytest.raises(ConfigError, match="BASCULE_CONFIG is not set"):
        settings_path({})
    path = tmp_path / "my.yaml"
    with pytest.raises(ConfigError, match=r"my\.yaml: cannot be read: No such file"):
        settings_from_environment({"BASCULE_CONFIG": str(path)})
    path.write_text(BASE)
    assert isinstance(settings_from_environment({"BASCULE_CONFIG": str(path)}), Settings)


def test_a_limit_of_the_exposure_takes_positions_that_are_compared_often_enough(load, refusal):
    desk = "  b: {{broker: http, url: 'http://x', secret: A, risk: {{max_exposure: 9}}, reconcile: {{every: {every}}}}}\n"
    load(BASE + desk.format(every="100s"))
    for every in ("2min", "0s"):
        assert refusal(BASE + desk.format(every=every)).startswith(
            "accounts.b.reconcile.every: max_exposure counts positions where they are compared"
        )
    load(BASE + "  b: {broker: paper, risk: {max_exposure: 9}}\n")
