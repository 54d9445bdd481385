"""Every event that a service logs, by name, and what it says: fixed names, which users filter and alarm on.

`docs/logs.md` shows the same; the tests hold both against the code. On each line stand `event`, `level`, `timestamp` and
`service`; on one about an alert what `subject.py` names, besides the event's own fields.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

OF_ALERTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "followed_order_cancelled": "A resting order was taken back, for its time limit.",
        "followed_order_ended": "A resting order ended at its venue; `state` says how.",
        "followed_order_failed": "An unexpected error while a resting order was looked up; it is tried again.",
        "followed_order_found": "A venue knows a resting order again that it did not know.",
        "followed_order_lost": "A venue does not know a resting order any more.",
        "followed_order_not_cancelled": "A resting order could not be taken back; it is tried again.",
        "followed_order_not_noted": "What a venue said of a resting order could not be written; it is looked up again; at `debug` after `redis_lost`.",
        "followed_order_unanswerable": "A resting order's venue cannot be asked about orders.",
        "head_executed_alone": "Workers died or failed on this instruction, so no other runs beside it.",
        "head_held": "An instruction cannot be executed, and an order of it may still be executing.",
        "head_taken_over": "A worker goes on with what `lost_holders` others died or failed on.",
        "instruction_ended": "An instruction ended without being EXECUTED; `state` and `reason` say how and why.",
        "instruction_reclaimed": "An instruction was taken from a worker that stopped renewing; `lost_holders` with this one.",
        "look_up_failed": "A venue did not say what became of an order.",
        "order_given_up": "What became of an order is not known, and its account does not wait for it.",
        "order_held": "A lane waits for an order that its venue cannot tell of: an operator should decide.",
        "order_logged": "The `log` broker's order; at `debug`.",
        "order_not_executed": "An attempt certainly did nothing; another may follow.",
        "order_suspected": "Redis came back without its newest writes: an order may exist that it forgot.",
        "order_unknown": "An order was sent and no answer can be trusted; it is looked up.",
    }
)
"""About one alert on one account."""

OF_POSTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "alert_not_durable": "An alert could not be made durable in time, and is answered 503; `count` of them.",
        "credential_refused": "A credential is missing or wrong; `count` of them, from `source` the last.",
        "post_failed": "An unexpected error while a post was answered.",
        "post_refused": "A post is answered 4xx or, by the relay, not passed on; `code` and `detail` say why.",
        "post_refused_upstream": "The relay's upstream refused a post.",
        "stranger_refused": "Posts of senders that proved nothing; `count` of them.",
    }
)
"""About posts, which are no alerts: of the ingress with `event_id` and `webhook`, and as far as the post was understood
with `strategy`, `symbol`, `elapsed_ms` and `trace_id`."""

OF_SERVICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "account_halted": "An account was halted, since its venue's position differs from ours.",
        "account_not_paused": "A venue asked an account to wait, and the other workers could not be told.",
        "account_not_reconciled": "An account could not be compared with its venue; at `debug` after `redis_lost`.",
        "account_paused": "A venue asked an account to wait: none of its orders are sent for `wait_ms`.",
        "account_reconciled": "An account can be compared with its venue again.",
        "alarm_cleared": "What was raised is over; `kind` and `subject` say what.",
        "alarm_delivered": "An alarm or a dead letter was told, after tries that failed.",
        "alarm_given_up": "An alarm or a dead letter could not be told, and is not tried again.",
        "alarm_not_delivered": "An alarm or a dead letter could not be told yet; it is tried again.",
        "alarm_raised": "The watchdog raised an alarm; `kind`, `subject` and `detail` say what about.",
        "alarms_skipped": "Dead letters that were replayed or discarded, and notices beyond the bound, were gone before they could be told; `messages` of them.",
        "breaker_closed": "The breaker of `scope` closed: orders go again.",
        "breaker_not_reported": "The other workers could not be told of a breaker.",
        "breaker_opened": "The breaker of `scope` opened: its orders wait.",
        "credentials_refused": "An exchange refuses the credentials of an account.",
        "door_closed": "The ingress takes no alerts: Redis breaks a promise.",
        "door_opened": "The ingress takes alerts.",
        "drain_timed_out": "Lanes were still under execution when the drain time was over; others go on with them.",
        "expired_in_place": "Instructions expired behind a head that waits; of the first 1000 of a pass, each has its `instruction_ended`.",
        "followed_order_unreadable": "The record of a resting order cannot be used.",
        "group_not_created": "The consumer group could not be created anew.",
        "lane_dropped": "Redis is away and a lane's lease is over: another worker goes on with it; at `debug` after `redis_lost`.",
        "lane_failed": "An unexpected error in a lane; it counts against its head.",
        "lane_full": "Alerts for a lane are refused, since too much waits in it.",
        "lane_not_parked": "A lane that failed could not be parked; it goes on when its lease is over.",
        "lanes_not_audited": "Lanes whose records cannot be used were left out of the audit.",
        "lanes_not_reclaimed": "Lanes whose records cannot be used could not be given to others.",
        "lanes_reclaimed": "Lanes of workers that stopped renewing were given to others; what they executed has its `instruction_reclaimed`.",
        "leases_lost": "Lanes turned out to be others' at their renewal.",
        "leases_not_renewed": "Leases could not be renewed; at `debug` after `redis_lost`.",
        "leases_started_afresh": "Redis was away, so that all leases begin anew.",
        "markets_not_loaded": "An exchange's list of markets could not be read.",
        "markets_not_published": "An account's list of markets could not be read or kept.",
        "markets_published": "An account's list of markets could be read and kept again.",
        "memory_free": "Redis has room for alerts again.",
        "memory_full": "Alerts are refused, since Redis is too full.",
        "order_drifted": "An order rests at a venue that is not ours, or ours does not.",
        "orders_looked_up": "A venue answers about an account's resting orders again.",
        "orders_not_followed": "Resting orders could not be read from Redis; at `debug` after `redis_lost`.",
        "orders_not_looked_up": "A venue does not answer about an account's resting orders.",
        "pass_broke": "An unexpected error in a pass of the reaper.",
        "pass_failed": "A pass of the reaper could not be made; said once until one succeeds, and at `debug` after `redis_lost`.",
        "position_drifted": "A venue's position differs from what our orders explain.",
        "position_not_countable": "A venue's position cannot be compared with our orders.",
        "read_failed": "Tokens could not be read; at `debug` after `redis_lost`.",
        "redis_away": "Redis does not answer at the start; it is waited for, until `redis_back`.",
        "redis_back": "Redis answers again, after `away_ms`.",
        "redis_incarnated": "Redis was restarted, or another server took over; `suspect_until_ms`: its data may lack the "
        "newest writes until then.",
        "redis_lost": "Redis does not answer; `loop` was the first to notice. Said once, until `redis_back`.",
        "redis_unguarded": "A replica could take over without what `redis.replicas` promises; `found` and `remedy` say why, and what to do.",
        "service_aborted": "A second signal ended the process at once.",
        "service_failed": "An unexpected error ended the process.",
        "service_started": "Everything is up.",
        "service_stopped": "The process has drained.",
        "service_stopping": "A signal asked the process to drain.",
        "span_exporter_ended": "The process that exports spans ended; it is started again.",
        "span_exporter_not_started": "The process that exports spans could not be started.",
        "span_queue_full": "Spans are dropped, since none leave; said once until it is well again.",
        "spans_exported_again": "The collector takes spans again.",
        "spans_lost": "Spans that could not be exported in the drain time.",
        "spans_not_exported": "The collector takes no spans; said once for each cause.",
        "strategies_unwatched": "There are more strategies than are watched for silence.",
        "symbols_not_read": "Symbols made at run time could not be read; at `debug` after `redis_lost`.",
        "table_entry_unreadable": "A webhook or symbol made at run time cannot be read.",
        "tokens_not_dropped": "Tokens without a lane could not be dropped.",
        "tokens_reissued": "The audit found lanes whose token was lost.",
        "webhook_unusable": "A webhook made at run time cannot be used with this configuration.",
        "webhooks_look_failed": "An unexpected error while webhooks were read.",
        "webhooks_read": "Webhooks and symbols made at run time were read.",
        "webhooks_unknown": "Webhooks made at run time are not known for certain, so unknown ones are answered 503; at `debug` after `redis_lost`.",
    }
)
"""About a service, an account or a lane. What was written while an alert was executed names that alert too."""

EVENTS: Final[Mapping[str, str]] = MappingProxyType({**OF_ALERTS, **OF_POSTS, **OF_SERVICES})
