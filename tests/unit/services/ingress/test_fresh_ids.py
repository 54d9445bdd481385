from libs.common.domain.ids import AlertId, alert_id
from services.ingress.fresh_ids import FreshIds

NOW_MS = 1_780_000_000_000


def test_no_id_is_made_twice() -> None:
    one, other = FreshIds(), FreshIds()
    made = [ids.alert_id(NOW_MS) for ids in (one, other) for _ in range(2_000)]
    made += [AlertId(one.event_id(NOW_MS)) for _ in range(2_000)]
    assert len(set(made)) == 6_000
    assert {len(alert_id) for alert_id in made} == {26}


def test_later_ids_sort_behind_earlier_ones() -> None:
    ids = FreshIds()
    assert ids.alert_id(NOW_MS) < ids.alert_id(NOW_MS + 1) < ids.event_id(NOW_MS + 2)


def test_an_id_begins_with_its_time() -> None:
    ids = FreshIds()
    for at_ms in (0, NOW_MS, NOW_MS, NOW_MS + 1, 2**48 - 1):
        assert ids.alert_id(at_ms)[:10] == alert_id(at_ms, bytes(10))[:10]
