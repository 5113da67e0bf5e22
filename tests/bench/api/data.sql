-- Rows for data.py, which says how many {markets}, {trades} and {positions} there are.
INSERT INTO checkpoint (id, chain_id, genesis_hash, contracts, start_block, block_number, block_hash, block_timestamp, safe_block, finalized_block, published_block, event_count)
VALUES (1, 84532, '0x'||repeat('0',64), '{{}}', 0, 1000000, '0x'||repeat('ab',32), '2026-06-01T00:00:00Z', 999968, 999936, 1000000, 4000000);
INSERT INTO collateral_tokens VALUES ('0x'||repeat('c0',20),'USDC',6);
INSERT INTO markets (id, market_id, question_id, condition_id, creator, collateral_token, amm_address, question, outcomes, resolution_time, resolution_timestamp, resolved, fee, reserves, liquidity, volume, trading_fees, fees_collected, trade_count, trader_count, block_number, block_hash, transaction_hash, log_index, created_at, updated_at, suspect_reason)
SELECT gen_random_uuid(), '0x'||encode(sha256(('m'||i)::bytea),'hex'), '0x'||encode(sha256(('q'||i)::bytea),'hex'), '0x'||encode(sha256(('c'||i)::bytea),'hex'),
 '0x'||left(encode(sha256(('u'||i%100)::bytea),'hex'),40), '0x'||repeat('c0',20), '0x'||left(encode(sha256(('a'||i)::bytea),'hex'),40),
 'Will event number '||i||' happen before the end of the year, and who would have thought so?', '["Yes","No"]', '2026-12-01'::timestamptz + i*interval '1 minute', 1800000000+i, false,
 20000000000000000, jsonb_build_array((1000000000+i::bigint*7919)::text, (1500000000+i::bigint*104729)::text), 2000000000+i, 5000000000::numeric+i*1000, 100000+i, 1000+i, 100, 37, 
 i*10, '0x'||encode(sha256(('b'||i)::bytea),'hex'), '0x'||encode(sha256(('t'||i)::bytea),'hex'), 3, '2026-01-01'::timestamptz+i*interval '20 second', '2026-05-31'::timestamptz, ''
FROM generate_series(1,{markets}) i;
INSERT INTO outcome_tokens (id, position_id, market_id, outcome_index, supply) SELECT gen_random_uuid(), ('x'||substr(market_id,3,15))::bit(60)::bigint::numeric*2+o, market_id, o, 9000000000 FROM markets, generate_series(0,1) o;
INSERT INTO amms (id,address,market_id,fee,total_shares,reserves,block_number,created_at) SELECT gen_random_uuid(), amm_address, market_id, fee, 1000000000, reserves, block_number, created_at FROM markets;
INSERT INTO market_metadata SELECT market_id, 'crypto', 'A description', 'https://x.io/i.png', 'https://source' FROM markets WHERE log_index=3 AND block_number % 20 = 0;
CREATE TEMP TABLE m AS SELECT row_number() OVER () - 1 AS n, market_id, amm_address FROM markets;
CREATE INDEX ON m(n);
INSERT INTO trades (id, market_id, amm_address, trader, side, outcome, amount, collateral_amount, fee_amount, block_number, block_hash, transaction_hash, log_index, timestamp)
SELECT gen_random_uuid(), m.market_id, m.amm_address, '0x'||left(encode(sha256(('u'||(i::bigint*7)%20000)::bytea),'hex'),40), CASE WHEN i%3=0 THEN 'sell' ELSE 'buy' END, i%2, 1000000+i, 600000+i/2, 12000, i, '0x'||encode(sha256(('b'||i)::bytea),'hex'), '0x'||encode(sha256(('x'||i)::bytea),'hex'), i%50, '2026-01-01'::timestamptz + i * (interval '151 day' / 1000000)
FROM generate_series(1,{trades}) i JOIN m ON m.n = (i::bigint*7919) % {markets};
INSERT INTO positions (id,user_address,market_id,outcome_index,amount,is_amm,created_at,updated_at)
SELECT gen_random_uuid(), '0x'||left(encode(sha256(('u'||i%20000)::bytea),'hex'),40), m.market_id, i/20000%2, 1000000+i, false, '2026-02-01', '2026-03-01'::timestamptz+i*interval '1 second'
FROM generate_series(1,{positions}) i JOIN m ON m.n = (i::bigint*31) % {markets};
INSERT INTO price_points (id,market_id,reserves,block_number,block_hash,transaction_hash,log_index,timestamp)
SELECT gen_random_uuid(), market_id, jsonb_build_array((1000000+block_number)::text,(2000000-block_number)::text), block_number, block_hash, transaction_hash, log_index, timestamp FROM trades;
INSERT INTO history (id,type,user_address,market_id,outcome,amount,collateral_amount,counterparty,sequence,block_number,block_hash,transaction_hash,log_index,timestamp)
SELECT gen_random_uuid(), side, trader, market_id, outcome, amount, collateral_amount, amm_address, 0, block_number, block_hash, transaction_hash, log_index, timestamp FROM trades;
