"""Many alerts on many symbols through several workers, without trouble."""

from tests.e2e.ledger import all_accepted, assert_nobody_reclaimed, assert_whole_run


async def test_two_thousand_alerts_on_forty_symbols_trade_once_each_and_in_order(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, workers=3)
    alerts = [bridge.alert(symbol=f"S{number % 40}") for number in range(2_000)]

    answers = await bridge.send_many(alerts, 32)

    alert_ids = all_accepted(answers)
    assert len(set(alert_ids)) == 2_000
    await bridge.wait_ended(2_000, 60)
    assert len(venue.ledger()) == 2_000
    await assert_whole_run(bridge, venue, alert_ids)
    assert_nobody_reclaimed(bridge)


async def test_alerts_posted_side_by_side_trade_in_the_order_of_their_lane(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, ingresses=2, workers=2)
    alerts = [bridge.alert(symbol=f"S{number % 5}") for number in range(500)]

    answers = await bridge.send_many(alerts, 16, in_order=False)

    alert_ids = all_accepted(answers)
    await bridge.wait_ended(500, 30)
    await assert_whole_run(bridge, venue, alert_ids, is_sent_in_order=False)
