"""Who has earned or traded most: computed over everybody, kept in a table of its own, and read from there.

The profit of a period is exact: what the history of the period says that was earned and paid, plus what the holdings
are worth now, less what those of the period's begin were worth then (docs/pnl.md). That is a look at every position:
whoever asks when a ranking is out of date computes it, if that pays; what is dear is computed apart, and they see the
one before, or hear that there is none yet. No request waits for another one, or for a dear one.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic
from typing import Any

from django.db import DatabaseError, OperationalError, connection, transaction
from psycopg.errors import QueryCanceled
from rest_framework import exceptions

from markets.models import RankedUser, Ranking

logger = logging.getLogger(__name__)
PERIODS: dict[str, timedelta | None] = {
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}
RANKED_BY = ("profit", "volume")
RANKS = 1000  # places that are kept of each ranking
CHEAP = 0.1  # seconds: what takes no longer is computed for each block that somebody asks at
ATTEMPT = 1.0  # seconds that a request computes at most; what takes longer is begun again apart
PAUSE = 20  # times its own cost must pass before a dearer one is computed again
WORK_MEMORY = "128MB"  # of PostgreSQL, so that it hashes what it would otherwise sort on disk: a fraction of the time
LOCK = 0x41554C45  # of pg_try_advisory_xact_lock, with a hash of the ranking's names

# Whose block has moved, and for whom it pays: what took long, for as long as it took a few times over.
DUE = """
    SELECT c.block_number IS NOT NULL AND (
        r.period IS NULL OR (
            (r.block_number, r.block_hash) <> (c.block_number, c.block_hash)
            AND (r.seconds < %(cheap)s OR r.computed_at + r.seconds * %(pause)s * interval '1 second' < now())
        )
    ), r.period IS NULL, r.seconds >= %(cheap)s
    FROM (SELECT 1) one LEFT JOIN checkpoint c ON true
    LEFT JOIN rankings r ON r.collateral_token = %(token)s AND r.period = %(period)s
    WHERE EXISTS (SELECT FROM markets WHERE collateral_token = %(token)s)
"""

# The block that a period begins behind, and its time; before the first one there was nothing.
AT = """
    SELECT c.block_number, c.block_hash, c.contracts, c.block_timestamp - %(length)s::interval AS time, coalesce((
        SELECT number FROM indexed_blocks WHERE timestamp <= c.block_timestamp - %(length)s::interval
        ORDER BY timestamp DESC, number DESC LIMIT 1
    ), -1) AS first
    FROM checkpoint c
"""

# Of each market: what its outcomes are worth, as weights of a total, and its pool, whose value is that of what it has.
PRICES = """
    SELECT m.market_id, w.weights, t.total, {supply} AS supply, (
        SELECT div(sum(reserve::numeric * w.weights[place]), t.total)
        FROM jsonb_array_elements_text({reserves}) WITH ORDINALITY AS each(reserve, place)
    ) AS pool
    FROM at, markets m LEFT JOIN amms a ON a.address = m.amm_address {points}
    CROSS JOIN LATERAL (SELECT price_weights({reserves}, {payouts}) AS weights) w
    CROSS JOIN LATERAL (SELECT sum(weight) AS total FROM unnest(w.weights) weight) t
    WHERE m.collateral_token = %(token)s
"""
PRICES_NOW = PRICES.format(supply="a.total_shares", reserves="m.reserves", payouts="m.payouts", points="")
PRICES_THEN = PRICES.format(
    supply="""
        a.total_shares - coalesce((
            SELECT sum(CASE type WHEN 'add_liquidity' THEN amount ELSE -amount END) FROM history
            WHERE market_id = m.market_id AND type IN ('add_liquidity', 'remove_liquidity')
            AND block_number > at.first AND counterparty = a.address
        ), 0)
    """,
    reserves="point.reserves",
    payouts="CASE WHEN m.resolved_at <= at.time THEN m.payouts END",
    points="""
        LEFT JOIN LATERAL (
            SELECT reserves FROM price_points WHERE market_id = m.market_id AND block_number <= at.first
            ORDER BY block_number DESC, log_index DESC LIMIT 1
        ) point ON true
    """,
)

# What everybody holds of a known cost: the rest neither earns nor loses. Outcome -1 are shares of the market's pool,
# -2 those of another pool, which have no price.
HELD = """
    SELECT user_address, market_id, outcome_index AS outcome, amount - untracked_amount AS amount, cost, realized_pnl
    FROM positions WHERE NOT is_amm
    UNION ALL
    SELECT s.holder, a.market_id, CASE WHEN a.address = m.amm_address THEN -1 ELSE -2 END, s.amount, s.cost,
           s.realized_pnl
    FROM liquidity_shares s JOIN amms a ON a.address = s.amm_address JOIN markets m ON m.market_id = a.market_id
"""
# What a holding is worth at a market's prices; where it has none, the market counts at its cost.
WORTH = """
    CASE WHEN outcome >= 0 THEN div({amount} * {prices}.weights[outcome + 1], {prices}.total)
    WHEN outcome = -2 THEN cost
    WHEN {amount} > 0 THEN div({amount} * {prices}.pool, nullif({prices}.supply, 0))
    ELSE 0 END
"""
WORTH_NOW = WORTH.format(amount="amount", prices="n")
WORTH_THEN = WORTH.format(amount="(amount - coalesce(change, 0))", prices="t")

# By how much the period has changed what everybody holds.
MOVED = """
    SELECT h.user_address, h.market_id, each.outcome, sum(each.change) AS change
    FROM recent h JOIN markets m ON m.market_id = h.market_id
    CROSS JOIN LATERAL (SELECT CASE WHEN h.type IN ('buy', 'split', 'transfer_in', 'add_liquidity') THEN 1 ELSE -1 END
                        AS sign) direction
    CROSS JOIN LATERAL (
        SELECT coalesce(h.outcome, -1) AS outcome,
               sign * (h.amount - coalesce((h.untracked_amounts ->> 0)::numeric, 0)) AS change
        WHERE h.outcome IS NOT NULL OR h.type NOT IN ('split', 'merge')
        UNION ALL
        SELECT place, sign * (h.amount - coalesce((h.untracked_amounts ->> place)::numeric, 0))
        FROM generate_series(0, jsonb_array_length(m.outcomes) - 1) place
        WHERE h.outcome IS NULL AND h.type IN ('split', 'merge')
        UNION ALL
        SELECT place - 1,
               CASE h.type WHEN 'add_liquidity' THEN h.collateral_amount - number::numeric ELSE number::numeric END
        FROM jsonb_array_elements_text(h.outcome_amounts) WITH ORDINALITY AS each(number, place)
        WHERE h.type IN ('add_liquidity', 'remove_liquidity')
    ) each
    GROUP BY 1, 2, 3
"""

OF_ALL_TIME = f"""
    users AS (
        SELECT user_address, coalesce(profit, 0) AS profit, coalesce(volume, 0) AS volume FROM (
            SELECT user_address, sum(realized_pnl - cost + CASE WHEN n.total IS NULL THEN cost ELSE {WORTH_NOW} END)
                   AS profit
            FROM held JOIN prices_now n USING (market_id) GROUP BY 1
        ) earned FULL JOIN (
            SELECT address AS user_address, sum(volume) AS volume
            FROM market_traders JOIN prices_now USING (market_id) GROUP BY 1
        ) traded USING (user_address)
    )
"""  # noqa: S608
OF_A_PERIOD = f"""
    recent AS MATERIALIZED (
        SELECT h.* FROM history h JOIN prices_now USING (market_id) WHERE h.block_number > (SELECT first FROM at)
    ),
    prices_then AS MATERIALIZED ({PRICES_THEN}),
    moved AS ({MOVED}),
    spent AS (SELECT user_address, market_id, sum(cost_change) AS spent FROM recent GROUP BY 1, 2),
    gained AS (
        SELECT user_address,
               CASE WHEN n.total IS NULL THEN sum(cost) ELSE sum({WORTH_NOW}) END
               - CASE WHEN t.total IS NULL THEN sum(cost) - coalesce(spent, 0) ELSE sum({WORTH_THEN}) END AS gain
        FROM held LEFT JOIN moved USING (user_address, market_id, outcome)
        LEFT JOIN spent USING (user_address, market_id)
        JOIN prices_now n USING (market_id) JOIN prices_then t USING (market_id)
        GROUP BY user_address, market_id, n.total, t.total, spent
    ),
    users AS (
        SELECT user_address, coalesce(gain, 0) + coalesce(earned, 0) AS profit, coalesce(volume, 0) AS volume FROM (
            SELECT user_address, sum(gain) AS gain FROM gained GROUP BY 1
        ) gains FULL JOIN (
            SELECT user_address, sum(realized_pnl - cost_change) AS earned,
                   sum(collateral_amount) FILTER (WHERE type IN ('buy', 'sell')) AS volume
            FROM recent GROUP BY 1
        ) flows USING (user_address)
    )
"""  # noqa: S608

COMPUTE = f"""
WITH at AS MATERIALIZED ({AT}),
held AS ({HELD}),
prices_now AS MATERIALIZED ({PRICES_NOW}),
{{of_users}},
people AS (
    SELECT user_address, profit, volume,
           row_number() OVER (ORDER BY profit DESC, user_address) AS by_profit,
           row_number() OVER (ORDER BY volume DESC, user_address) AS by_volume
    FROM users u
    WHERE (profit <> 0 OR volume <> 0) AND user_address <> '0x' || repeat('0', 40)
    AND NOT EXISTS (SELECT FROM amms WHERE address = u.user_address)
    AND NOT EXISTS (SELECT FROM at, jsonb_each_text(at.contracts) each WHERE lower(each.value) = u.user_address)
),
ranked AS (
    INSERT INTO ranked_users (collateral_token, period, ranked_by, rank, user_address, profit, volume)
    SELECT %(token)s, %(period)s, 'profit', by_profit, user_address, profit, volume
    FROM people WHERE by_profit <= %(ranks)s
    UNION ALL
    SELECT %(token)s, %(period)s, 'volume', by_volume, user_address, profit, volume
    FROM people WHERE by_volume <= %(ranks)s
)
INSERT INTO rankings (collateral_token, period, block_number, block_hash, computed_at, seconds)
SELECT %(token)s, %(period)s, block_number, block_hash, now(), 0 FROM at
"""  # noqa: S608


class NotRankedYet(exceptions.APIException):
    """The first ranking of a period is being computed; nothing is wrong with the request."""

    status_code = 503
    default_detail = "This leaderboard is being computed for the first time. Try again in a moment."
    wait = 5  # seconds; DRF makes it Retry-After


# One at a time: each takes a core of the database's.
_apart = ThreadPoolExecutor(1, thread_name_prefix="ranking")
_waiting: set[tuple[str, str]] = set()


def refresh(token: str, period: str) -> None:
    """Has the ranking of a period in a collateral token computed anew, where it is out of date and that pays.

    What is cheap is there when this returns. Raises NotRankedYet where there is none, nor will be at once.
    """
    due, is_first, is_dear = _due(token, period)
    if not due:
        return
    is_there = False
    if is_dear:
        _compute_apart(token, period)
    elif (token, period) not in _waiting:
        is_there = _attempt(token, period)
    if is_first and not is_there:
        raise NotRankedYet


def _attempt(token: str, period: str) -> bool:
    """Computes for as long as a request may take, and has what takes longer computed apart. Returns whether it is
    there."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(ATTEMPT * 1000))])
            return _recompute(token, period)
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        _compute_apart(token, period)
        return False


def _recompute(token: str, period: str) -> bool:
    """One process at a time does; the others leave it at that, and hear False."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [LOCK, token + period])
        if not cursor.fetchone()[0]:
            return False
        if _due(token, period)[0]:
            _compute(token, period)
        return True


def _compute_apart(token: str, period: str) -> None:
    if (token, period) not in _waiting:
        _waiting.add((token, period))
        _apart.submit(_recompute_apart, token, period)


def _recompute_apart(token: str, period: str) -> None:
    """On a thread, whose connection goes back to the pool."""
    try:
        _recompute(token, period)
    except DatabaseError as error:
        logger.error("the leaderboard of %s is not computed: %s", period, error)
    finally:
        _waiting.discard((token, period))
        connection.close()


def _due(token: str, period: str) -> tuple[bool, bool, bool]:
    """Whether the ranking is to be computed, whether there is none yet, and whether it took long last time.

    Nobody can earn what no market pays in.
    """
    with connection.cursor() as cursor:
        cursor.execute(DUE, {"token": token, "period": period, "cheap": CHEAP, "pause": PAUSE})
        return cursor.fetchone() or (False, False, False)


def _compute(token: str, period: str) -> None:
    """All in one statement, which sees one moment: the block that it notes is the one that it has seen."""
    began = monotonic()
    length = PERIODS[period]
    statement = COMPUTE.format(of_users=OF_ALL_TIME if length is None else OF_A_PERIOD)
    of_ranking = {"collateral_token": token, "period": period}
    RankedUser.objects.filter(**of_ranking).delete()
    Ranking.objects.filter(**of_ranking).delete()
    values: dict[str, Any] = {"token": token, "period": period, "length": length, "ranks": RANKS}
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('work_mem', %s, true)", [WORK_MEMORY])
        cursor.execute(statement, values)
    Ranking.objects.filter(**of_ranking).update(seconds=monotonic() - began)
