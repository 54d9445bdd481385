import msgspec

from libs.common.domain.ids import AccountName, AlertId, LaneName, Market, WebhookName
from libs.common.policy.limits import Limit
from libs.common.store.admission import Admission, Routed, flight_of
from libs.common.store.keys import Keys

KEYS = Keys()
DESK = Routed(AccountName("desk"), Market("BTC"), LaneName("desk:BTC"), b"body", 1)


def admission(alert_id: str, **changes: object) -> Admission:
    plain = Admission(
        alert_id=AlertId(alert_id),
        webhook=WebhookName("default"),
        dedup_keys=(f"id:{alert_id}",),
        dedup_window_ms=600_000,
        digest="digest",
        is_sender_id=True,
        limit=None,
        alert=b"alert",
        fired_at_ms=None,
        max_age_ms=60_000,
        clock_skew_ms=5_000,
        routed=(DESK,),
    )
    return msgspec.structs.replace(plain, **changes)


def test_what_admissions_have_in_common_stands_once() -> None:
    other = admission("b", webhook=WebhookName("other"), fired_at_ms=7)
    flight = flight_of([admission("a"), other, admission("c")], KEYS)
    common = [600_000, "1", 1, "", "", 60_000, 5_000, 1, "desk", 1, ""]
    theirs = ["digest", b"alert"]
    share = ["BTC", "desk:BTC", b"body"]
    assert flight.args == [
        *(3, 2),
        *("default", *common),
        *("other", *common),
        *(1, "a", *theirs, "", *share),
        *(2, "b", *theirs, 7, *share),
        *(1, "c", *theirs, "", *share),
    ]


def test_keys_and_words_of_an_admission_stand_where_its_terms_say() -> None:
    declined = Routed(
        AccountName("fund"), Market(""), LaneName("fund:BTC"), b"body", 1, "REJECTED", "not_allowed", "words"
    )
    spread = admission(
        "a", dedup_keys=("bar:1", "bar:2"), limit=Limit(interval_us=500, burst=3), routed=(declined, DESK)
    )
    plain = admission("b")
    flight = flight_of([spread, plain], KEYS)
    assert flight.keys == [
        KEYS.alert(spread.alert_id),
        KEYS.seen(spread.webhook, "bar:1"),
        KEYS.seen(spread.webhook, "bar:2"),
        KEYS.webhook_bucket(spread.webhook),
        KEYS.instruction(spread.alert_id, declined.account),
        KEYS.lane(declined.lane),
        KEYS.instruction(spread.alert_id, DESK.account),
        KEYS.lane(DESK.lane),
        KEYS.alert(plain.alert_id),
        KEYS.seen(plain.webhook, "id:b"),
        KEYS.instruction(plain.alert_id, DESK.account),
        KEYS.lane(DESK.lane),
    ]
    assert flight.args[2:17] == [
        *("default", 600_000, "1", 2, 500, 3, 60_000, 5_000, 2),
        *("fund", 1, "REJECTED"),
        *("desk", 1, ""),
    ]
    assert flight.args[29:42] == [
        *(1, "a", "digest", b"alert", ""),
        *("", "fund:BTC", b"body", "not_allowed", "words"),
        *("BTC", "desk:BTC", b"body"),
    ]


def test_no_admissions_say_nothing() -> None:
    flight = flight_of([], KEYS)
    assert (flight.keys, flight.args) == ([], [0, 0])
