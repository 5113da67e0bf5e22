-- Rows for data.py, which says how many {markets}, {trades} and {positions} there are.
CREATE FUNCTION word(name text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN '0x' || encode(sha256(name::bytea), 'hex');
CREATE FUNCTION account(name text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN '0x' || left(encode(sha256(name::bytea), 'hex'), 40);

INSERT INTO checkpoint (
    id, chain_id, genesis_hash, contracts, start_block, block_number, block_hash, block_timestamp, safe_block,
    finalized_block, published_block, event_count
) VALUES (
    1, 84532, word('genesis'), '{{}}', 0, {trades}, word('b'), '2026-06-01T00:00:00Z', {trades} - 32, {trades} - 64,
    {trades}, 4 * {trades}
);
INSERT INTO collateral_tokens (address, symbol, decimals) VALUES ('0x' || repeat('c0', 20), 'USDC', 6);

INSERT INTO markets (
    id, market_id, question_id, condition_id, creator, collateral_token, amm_address, question, outcomes,
    resolution_time, resolution_timestamp, resolved, fee, reserves, liquidity, volume, trading_fees, fees_collected,
    trade_count, trader_count, block_number, block_hash, transaction_hash, log_index, created_at, updated_at,
    suspect_reason
)
SELECT
    gen_random_uuid(), word('m' || i), word('q' || i), word('c' || i), account('u' || i % 100),
    '0x' || repeat('c0', 20), account('a' || i),
    'Will event number ' || i || ' happen before the end of the year, and who would have thought so?',
    '["Yes", "No"]', '2026-12-01'::timestamptz + i * interval '1 minute', 1800000000 + i, false,
    20000000000000000,
    jsonb_build_array((1000000000 + i::bigint * 7919)::text, (1500000000 + i::bigint * 104729)::text),
    2000000000 + i, 5000000000::numeric + i * 1000, 100000 + i, 1000 + i, {trades} / {markets}, 37, i,
    word('b' || i), word('t' || i), 3, '2026-01-01'::timestamptz + i * interval '20 seconds',
    '2026-05-31'::timestamptz, ''
FROM generate_series(1, {markets}) i;

INSERT INTO outcome_tokens (id, position_id, market_id, outcome_index, supply)
SELECT gen_random_uuid(), ('x' || substr(market_id, 3, 15))::bit(60)::bigint::numeric * 2 + o, market_id, o, 9000000000
FROM markets, generate_series(0, 1) o;
INSERT INTO amms (id, address, market_id, fee, total_shares, reserves, block_number, created_at)
SELECT gen_random_uuid(), amm_address, market_id, fee, 1000000000, reserves, block_number, created_at FROM markets;
INSERT INTO market_metadata (market_id, category, description, image_url, resolution_source)
SELECT market_id, 'crypto', 'What it is about.', 'https://img.example/i.png', 'https://source.example'
FROM markets WHERE block_number % 2 = 0;

CREATE TEMPORARY TABLE numbered AS
SELECT row_number() OVER (ORDER BY market_id) - 1 AS number, market_id, amm_address FROM markets;
CREATE INDEX ON numbered (number);

INSERT INTO indexed_blocks (number, hash, parent_hash, timestamp)
SELECT i, word('b' || i), word('b' || i - 1), '2026-01-01'::timestamptz + i * (interval '151 days' / {trades})
FROM generate_series(1, {trades}) i;

INSERT INTO trades (
    id, market_id, amm_address, trader, side, outcome, amount, collateral_amount, fee_amount, market_volume,
    block_number, block_hash, transaction_hash, log_index, timestamp
)
SELECT
    gen_random_uuid(), m.market_id, m.amm_address, account('u' || (i::bigint * 7) % 20000),
    CASE WHEN i % 3 = 0 THEN 'sell' ELSE 'buy' END, i % 2, 1000000 + i, 600000 + i / 2, 12000, 1000::numeric * i, i,
    word('b' || i), word('x' || i), i % 50, '2026-01-01'::timestamptz + i * (interval '151 days' / {trades})
FROM generate_series(1, {trades}) i JOIN numbered m ON m.number = (i::bigint * 7919) % {markets};

INSERT INTO positions (
    id, user_address, market_id, outcome_index, amount, is_amm, cost, realized_pnl, untracked_amount, away_amount,
    away_cost, acquired_amount, acquired_cost, created_at, updated_at
)
SELECT
    gen_random_uuid(), account('u' || i % 20000), m.market_id, i / 20000 % 2, 1000000 + i, false, 400000 + i, i - 5000,
    0, 0, 0, 1000000 + i, 400000 + i, '2026-02-01', '2026-03-01'::timestamptz + i * interval '1 second'
FROM generate_series(1, {positions}) i JOIN numbered m ON m.number = (i::bigint * 31) % {markets};

INSERT INTO price_points (id, market_id, reserves, block_number, block_hash, transaction_hash, log_index, timestamp)
SELECT
    gen_random_uuid(), market_id,
    jsonb_build_array((1000000 + block_number)::text, (20000000 + 7 * block_number)::text), block_number, block_hash,
    transaction_hash, log_index, timestamp
FROM trades;

INSERT INTO history (
    id, type, user_address, market_id, outcome, amount, collateral_amount, counterparty, sequence, realized_pnl,
    cost_change, block_number, block_hash, transaction_hash, log_index, timestamp
)
SELECT
    gen_random_uuid(), side, trader, market_id, outcome, amount, collateral_amount, amm_address, 0, 0,
    collateral_amount, block_number, block_hash, transaction_hash, log_index, timestamp
FROM trades;
DROP FUNCTION word, account;
