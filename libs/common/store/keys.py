"""Every key in Redis, built here and nowhere else in Python.

Scripts get their keys in `KEYS`, but for those that are named by what they have just read, or that nearly no item needs:
they build lanes, alerts, instructions, orders, `halts`, `following`, `risk` and `fills` from the prefix, most of them in
`lua/prelude.lua`.

All keys of a shard carry its hash tag, so that one script may touch them together on Redis Cluster.
"""

from typing import Final

from libs.common.domain.ids import (
    AccountName,
    AlertId,
    ClientOrderId,
    LaneName,
    Market,
    WebhookName,
    safe_name,
)

GROUP: Final = "workers"
"""The consumer group on the ready stream; created at id 0."""


class Keys:
    """The keys of one shard."""

    def __init__(self, shard: int = 0) -> None:
        self.shard: Final = shard
        """Its number."""
        self.prefix: Final = f"bascule:{{s{shard}}}:"
        """Absent as a key; scripts delete it as a first write and build names of records from it."""
        self.ready: Final = f"{self.prefix}ready"
        """STREAM of tokens, consumer group `workers`: `lane`, and of admit what it is issued for. Written by admit, settle, yield,
        replay and the reaper."""
        self.lanes: Final = f"{self.prefix}lanes"
        """HASH lane -> `token|holder`: the fence. A lane without work and token has no field."""
        self.parked: Final = f"{self.prefix}parked"
        """ZSET lane -> due time in ms. Written by park, emptied by promote; decide makes a lane due at once."""
        self.journal: Final = f"{self.prefix}journal"
        """STREAM of every state change, written by the script that made it; trimmed by age."""
        self.refused: Final = f"{self.prefix}refused"
        """STREAM of posts that were not admitted, bounded by bytes. Written by refuse and admit."""
        self.dead: Final = f"{self.prefix}dead"
        """STREAM of dead letters; trimmed by age. Written by admit, settle, open, take and audit."""
        self.breakers: Final = f"{self.prefix}breakers"
        """HASH scope -> `state|generation|reset_at_ms|probe_until_ms`; scopes as in `store/breakers.py`. Written
        by report, begin, settle and take, and by promote after the clock stepped back."""
        self.meta: Final = f"{self.prefix}meta"
        """HASH of the reaper's last time, the shard's facts, the revision of webhooks and symbols, and the bytes that
        are kept of refused posts. Written by layout: `shards` (over how many accounts are spread) and `hash` (how). Written
        by incarnate: `run_id` of the Redis that was met last, `keeps_all` (1 where it
        fsyncs each write and has no replicas), `epoch` (what was admitted in an earlier one may have orders that Redis
        forgot), `suspect_until` (when the last of them can execute no more) and `suspect_window` (how long after the
        return that is), both ms."""
        self.workers: Final = f"{self.prefix}workers"
        """ZSET holder -> when the worker last checked in, ms. Written by check_in, cleaned by retire."""
        self.webhooks: Final = f"{self.prefix}webhooks"
        """HASH name -> webhook, JSON: those made at run time. Written by configure."""
        self.symbols: Final = f"{self.prefix}symbols"
        """HASH `symbol|exchange|account` -> market: entries confirmed at run time. Written by configure."""
        self.halts: Final = f"{self.prefix}halts"
        """HASH scope -> `mode|at_ms|by|reason`: the halts that are set. Written by halt, read by begin, settle, take and plan."""
        self.following: Final = f"{self.prefix}following"
        """ZSET client order id -> when it is looked up next, ms: orders that rest at a venue. Written by settle, follow
        and followed."""
        self.alarms: Final = f"{self.prefix}alarms"
        """HASH kind:subject -> `raised at|confirmed at|detail`, ms: alarms that are raised. Written by alarm."""
        self.notices: Final = f"{self.prefix}notices"
        """STREAM of alarms that were raised and cleared: the newest 1,000 or so. Written by alarm."""
        self.watch: Final = f"{self.prefix}watch"
        """HASH of how far the reaper has read each stream that it watches or tells of, of the counts of refused posts, and
        of what was last seen of the certificate. Written by learn."""
        self.habits: Final = f"{self.prefix}habits"
        """HASH strategy -> JSON: when it is usually heard; at most 500. Written by learn."""
        self.probe: Final = f"{self.prefix}probe"
        """STRING, TTL 10 s: what the health check writes to see that Redis takes writes; and what is written where replicas
        are waited for and nothing else may be to write, see `store/copies.py`."""
        self.fixed: Final = (
            self.prefix,
            self.ready,
            self.lanes,
            self.parked,
            self.journal,
            self.dead,
            self.breakers,
            self.meta,
        )
        """The first KEYS of every script, in this order."""

    def lane(self, lane: LaneName) -> str:
        """STREAM of waiting instructions, oldest first; deleted when empty, never trimmed. Written by admit."""
        return f"{self.prefix}lane:{lane}"

    def seen(self, webhook: WebhookName, dedup_key: str) -> str:
        """STRING `alert id|digest`, TTL of the webhook's window. Written by admit."""
        return f"{self.prefix}seen:{webhook}:{safe_name(dedup_key)}"

    def webhook_bucket(self, webhook: WebhookName) -> str:
        """STRING, the rate limit of a webhook; expires when full again. Written by admit."""
        return f"{self.prefix}bucket:webhook:{webhook}"

    def alert(self, alert_id: AlertId) -> str:
        """HASH of an alert; TTL once all of its instructions have ended. Written by admit and settle."""
        return f"{self.prefix}alert:{alert_id}"

    def instruction(self, alert_id: AlertId, account: AccountName) -> str:
        """HASH of an alert's fate on one account; TTL once ended. Written by every lane script."""
        return f"{self.prefix}instruction:{alert_id}:{account}"

    def order(self, client_order_id: ClientOrderId) -> str:
        """HASH of an order; TTL once its instruction ended, but not while it rests at the venue: then once that is over.
        Written by begin, doubt, resolve, settle, take, follow, followed, decide and replay.
        """
        return f"{self.prefix}order:{client_order_id}"

    def symbol_bucket(self, account: AccountName, market: Market) -> str:
        """STRING, the rate limit of one market; expires when full again. Written by begin, settle and take."""
        return f"{self.prefix}bucket:symbol:{account}:{safe_name(market)}"

    def account_bucket(self, account: AccountName) -> str:
        """STRING, the rate limit of one account; expires when full again. Written by begin, settle and take."""
        return f"{self.prefix}bucket:account:{account}"

    def markets(self, account: AccountName) -> str:
        """STRING, JSON `{at_ms, markets}`: what the account's venue trades; TTL 7 days. Written by workers."""
        return f"{self.prefix}markets:{account}"

    def positions(self, account: AccountName) -> str:
        """HASH market -> JSON: the account's positions as last read at its venue. Written by workers; a market that is not
        asked about any more is taken out by reconciled.
        """
        return f"{self.prefix}positions:{account}"

    def balance(self, account: AccountName) -> str:
        """STRING, JSON: the account's money as last read at its venue; TTL 7 days. Written by workers."""
        return f"{self.prefix}balance:{account}"

    def risk(self, account: AccountName) -> str:
        """HASH client order id -> `at|value|may rest|released at`: what account-wide risk limits hold back for it. Written by
        begin, settle and take, which forget what was released two minutes ago, and by audit.
        """
        return f"{self.prefix}risk:{account}"

    def fills(self, account: AccountName) -> str:
        """STREAM of market, order and signed quantity: the newest 10,000 or so fills of an account that is compared with
        its venue. Written by settle, resolve and followed.
        """
        return f"{self.prefix}fills:{account}"

    def reconciled(self, account: AccountName) -> str:
        """HASH market -> JSON `{quantity, fills_id, active_at_ms}`: the venue's position when it was last compared, and
        the last of the fills in it. Written by reconciled.
        """
        return f"{self.prefix}reconciled:{account}"

    def reconciling(self, account: AccountName) -> str:
        """STRING, the worker whose turn it is to compare an account with its venue; TTL of the pause between two."""
        return f"{self.prefix}turn:reconcile:{account}"

    def watchdog_turn(self, duty: str) -> str:
        """HASH, the reaper whose turn a duty is that one is enough for; TTL of seconds. Written by take_turn."""
        return f"{self.prefix}turn:watchdog:{duty}"

    def day(self, account: AccountName) -> str:
        """STRING, JSON `{day, equity}`: an account's equity as its UTC day began; TTL 2 days. Written by workers."""
        return f"{self.prefix}day:{account}"

    def drift(self, account: AccountName, client_order_id: ClientOrderId) -> str:
        """STRING, marks an order whose drift is in the journal already; TTL 7 days. Written by drifted."""
        return f"{self.prefix}drift:{account}:{client_order_id}"

    def paper(self, account: AccountName, book: str) -> str:
        """One of the paper broker's shared books; see `store/paper_books.py`."""
        return f"{self.prefix}paper:{account}:{book}"

    def paper_order(self, account: AccountName, client_order_id: ClientOrderId) -> str:
        """HASH of an order on paper; TTL from its last change on, longer than any replay. Written by paper_fill."""
        return f"{self.prefix}paper_order:{account}:{client_order_id}"
