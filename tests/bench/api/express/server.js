// The same pages by a plain Express server on PORT; libpq's variables name the database. CACHE=1 keeps bodies by URL.
'use strict';

const express = require('express');
const { Pool } = require('pg');

const LIMIT = 50;
const pool = new Pool({ max: 10 });
const cache = process.env.CACHE ? new Map() : null;
const app = express();

const time = (date) => date.toISOString().replace('.000Z', 'Z');
const priceList = (reserves) => {
  if (!reserves) return null;
  const weights = reserves.map((_, i) => reserves.reduce((product, r, j) => (i === j ? product : product * Number(r)), 1));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return total ? weights.map((weight) => weight / total) : null;
};
const finality = (block, now) => (block <= now.finalized_block ? 'final' : block <= now.safe_block ? 'safe' : 'pending');
const checkpoint = async () => (await pool.query('SELECT * FROM checkpoint')).rows[0];

const market = (m, now) => ({
  id: m.id, marketId: m.market_id, questionId: m.question_id, conditionId: m.condition_id, creator: m.creator,
  collateralToken: m.collateral_token, collateral: m.symbol ? { symbol: m.symbol, decimals: m.decimals } : null,
  ammAddress: m.amm_address, fee: m.fee, question: m.question, outcomes: m.outcomes,
  resolutionTime: time(m.resolution_time), resolutionTimestamp: m.resolution_timestamp,
  status: m.resolved ? 'resolved' : m.resolution_time <= now.block_timestamp ? 'ended' : 'open',
  resolved: m.resolved, payouts: m.payouts, prices: priceList(m.reserves), reserves: m.reserves, volume: m.volume,
  volume24h: m.volume_24h, liquidity: m.liquidity, openInterest: m.open_interest, feesCollected: m.fees_collected,
  tradingFees: m.trading_fees, traders: Number(m.trader_count), tradeCount: Number(m.trade_count),
  metadata: { category: m.category || '', description: m.description || '', imageUrl: m.image_url || '', resolutionSource: m.resolution_source || '' },
  finality: finality(m.block_number, now), blockNumber: Number(m.block_number), transactionHash: m.transaction_hash,
  logIndex: m.log_index, createdAt: time(m.created_at), updatedAt: time(m.updated_at),
});

const MARKETS = `
  SELECT m.*, d.category, d.description, d.image_url, d.resolution_source, k.symbol, k.decimals,
    m.volume - coalesce((SELECT market_volume FROM trades WHERE market_id = m.market_id AND block_number <= $1
      ORDER BY block_number DESC, log_index DESC LIMIT 1), 0) AS volume_24h,
    greatest(0, coalesce((SELECT min(supply) FROM outcome_tokens WHERE market_id = m.market_id), 0)
      - coalesce((SELECT sum((SELECT min(reserve::numeric) FROM jsonb_array_elements_text(a.reserves) reserve))
                  FROM amms a WHERE a.market_id = m.market_id), 0)) AS open_interest
  FROM markets m LEFT JOIN market_metadata d ON d.market_id = m.market_id
  LEFT JOIN collateral_tokens k ON k.address = m.collateral_token
  ORDER BY m.created_at DESC, m.id LIMIT ${LIMIT + 1}`;

const page = (rows, now, shape) => ({
  results: rows.slice(0, LIMIT).map((row) => shape(row, now)),
  next: rows.length > LIMIT ? `/next?cursor=${Buffer.from(JSON.stringify(rows[LIMIT - 1].id)).toString('base64')}` : null,
  previous: null,
});

const answer = (read) => async (request, response, next) => {
  try {
    let body = cache && cache.get(request.originalUrl);
    if (!body) {
      body = JSON.stringify(await read(request));
      if (cache) cache.set(request.originalUrl, body);
    }
    response.type('application/json').send(body);
  } catch (error) {
    next(error);
  }
};

app.get('/api/markets', answer(async () => {
  const now = await checkpoint();
  const { rows: [dayAgo] } = await pool.query(
    `SELECT number FROM indexed_blocks WHERE timestamp <= $1::timestamptz - interval '24 hours'
     ORDER BY timestamp DESC, number DESC LIMIT 1`, [now.block_timestamp]);
  return page((await pool.query(MARKETS, [dayAgo ? dayAgo.number : -1])).rows, now, market);
}));

app.get('/api/markets/:id/trades', answer(async (request) => {
  const now = await checkpoint();
  const { rows } = await pool.query(
    `SELECT * FROM trades WHERE market_id = $1 ORDER BY block_number DESC, log_index DESC LIMIT ${LIMIT + 1}`, [request.params.id]);
  return page(rows, now, (t) => ({
    id: t.id, marketId: t.market_id, trader: t.trader, side: t.side, outcome: t.outcome, amount: t.amount,
    collateralAmount: t.collateral_amount, feeAmount: t.fee_amount, price: Number(t.collateral_amount) / Number(t.amount),
    finality: finality(t.block_number, now), blockNumber: Number(t.block_number), transactionHash: t.transaction_hash,
    logIndex: t.log_index, timestamp: time(t.timestamp),
  }));
}));

const position = (p) => {
  const price = p.reserves ? priceList(p.reserves)[p.outcome_index] : null;
  const value = price === null ? null : Math.floor(Number(p.amount) * price);
  return {
    id: p.id, userAddress: p.user_address, marketId: p.market_id, outcomeIndex: p.outcome_index,
    outcome: p.outcomes[p.outcome_index], amount: p.amount, isAmm: p.is_amm, currentPrice: price,
    value: value === null ? null : String(value), averageCost: p.amount === '0' ? null : Number(p.cost) / Number(p.amount),
    cost: p.cost, realizedPnl: p.realized_pnl, unrealizedPnl: value === null ? null : String(value - Number(p.cost)),
    untrackedAmount: p.untracked_amount, status: p.amount === '0' ? 'closed' : 'open',
    createdAt: time(p.created_at), updatedAt: time(p.updated_at),
  };
};

app.get('/api/markets/:id/positions', answer(async (request) => page((await pool.query(
  `SELECT p.*, m.outcomes, m.reserves FROM positions p JOIN markets m ON m.market_id = p.market_id
   WHERE p.market_id = $1 AND p.amount > 0 ORDER BY p.amount DESC, p.id LIMIT ${LIMIT + 1}`, [request.params.id])).rows, null, position)));

app.get('/api/users/:address/positions', answer(async (request) => page((await pool.query(
  `SELECT p.*, m.outcomes, m.reserves FROM positions p JOIN markets m ON m.market_id = p.market_id
   WHERE p.user_address = $1 ORDER BY p.updated_at DESC, p.id LIMIT ${LIMIT + 1}`, [request.params.address])).rows, null, position)));

app.get('/api/users/:address/history', answer(async (request) => {
  const now = await checkpoint();
  const { rows } = await pool.query(
    `SELECT * FROM history WHERE user_address = $1
     ORDER BY block_number DESC, log_index DESC, sequence DESC LIMIT ${LIMIT + 1}`, [request.params.address]);
  return page(rows, now, (h) => ({
    id: h.id, type: h.type, marketId: h.market_id, outcome: h.outcome, amount: h.amount, collateralAmount: h.collateral_amount,
    outcomeAmounts: h.outcome_amounts, price: h.collateral_amount ? Number(h.collateral_amount) / Number(h.amount) : null,
    counterparty: h.counterparty, realizedPnl: h.realized_pnl, costChange: h.cost_change, finality: finality(h.block_number, now), blockNumber: Number(h.block_number),
    transactionHash: h.transaction_hash, logIndex: h.log_index, timestamp: time(h.timestamp),
  }));
}));

app.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready'));
