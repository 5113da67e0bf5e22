// What /live shows: markets with their prices, trades as they come, and how the connection fares.
import { AurumSocket } from "./aurum-socket.js";

const MOST_MARKETS = 45; // each has two subscriptions, and a connection at most 100
const MOST_TRADES = 60;
const POINTS = 60; // of a price's line
const number = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const $ = (id) => document.getElementById(id);
const markets = new Map(); // marketId -> what is shown of it
let messages = 0;
let opened = 0;

/** An element with these attributes, children and text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function amount(text, decimals) {
  return compact.format(Number(text) / 10 ** decimals);
}

// --- markets ----------------------------------------------------------------------------------------------------------

class MarketCard {
  constructor(market) {
    this.outcomes = market.outcomes;
    this.decimals = market.collateral?.decimals ?? 18;
    this.symbol = market.collateral?.symbol ?? "";
    this.lines = market.outcomes.map(() => []);
    this.question = market.question;
    this.facts = make("p", { class: "facts" });
    this.rows = market.outcomes.map((outcome) => {
      const price = make("output", { class: "price" }, "–");
      const bar = make("i");
      return { price, bar, row: make("div", { class: "outcome" }, make("span", {}, outcome), make("b", {}, bar), price) };
    });
    this.line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const chart = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    chart.setAttribute("viewBox", `0 0 ${POINTS - 1} 100`);
    chart.setAttribute("preserveAspectRatio", "none");
    chart.setAttribute("aria-hidden", "true");
    chart.append(this.line);
    const rows = make("div", { class: "outcomes" }, ...this.rows.map(({ row }) => row));
    const title = make("h3", { title: market.question }, market.question);
    this.element = make("li", { "data-market": market.marketId }, title, rows, chart, this.facts);
    this.showState(market);
    this.showPrices(market.prices);
  }

  showPrices(prices) {
    this.rows.forEach(({ price, bar, row }, outcome) => {
      const value = prices?.[outcome];
      const before = this.lines[outcome].at(-1);
      price.value = value === undefined ? "–" : `${(value * 100).toFixed(1)}%`;
      bar.style.width = `${(value ?? 0) * 100}%`;
      if (value === undefined) return;
      this.lines[outcome] = [...this.lines[outcome], value].slice(-POINTS);
      if (before !== undefined && before !== value) flash(row, value > before ? "up" : "down");
    });
    this.drawLine();
  }

  /** The first outcome's last prices, drawn large: a span of at least a tenth. */
  drawLine() {
    const [prices] = this.lines;
    const [low, high] = [Math.min(...prices), Math.max(...prices)];
    const span = Math.max(0.1, high - low);
    const bottom = (low + high - span) / 2;
    const start = POINTS - prices.length;
    const points = prices.map((price, index) => `${start + index},${95 - ((price - bottom) / span) * 90}`);
    this.line.setAttribute("points", points.join(" "));
  }

  showState({ volume, tradeCount, traders, resolved, payouts }) {
    const facts = [`${amount(volume, this.decimals)} ${this.symbol} in ${plural(tradeCount, "trade")}`, plural(traders, "trader")];
    if (resolved) facts.unshift(this.resolution(payouts));
    this.facts.textContent = facts.join(" · ");
    this.element.classList.toggle("resolved", resolved);
  }

  /** Which outcomes pay what share. */
  resolution(payouts) {
    const total = payouts.reduce((sum, payout) => sum + Number(payout), 0);
    const shares = payouts.map((payout, outcome) => [this.outcomes[outcome], Number(payout) / total]);
    const paid = shares.filter(([, share]) => share > 0);
    return paid.length === 1 ? `${paid[0][0]} won` : paid.map(([name, share]) => `${name} ${Math.round(share * 100)}%`).join(", ");
  }
}

function plural(count, noun) {
  return `${number.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function flash(element, name) {
  element.classList.remove("up", "down");
  void element.offsetWidth; // so that the same animation starts again
  element.classList.add(name);
}

function addMarket(market, isNew) {
  if (markets.has(market.marketId) || markets.size >= MOST_MARKETS) return;
  const card = new MarketCard(market);
  markets.set(market.marketId, card);
  $("markets")[isNew ? "prepend" : "append"](card.element);
  $("no-markets").hidden = true;
}

function dropMarket(marketId) {
  markets.get(marketId)?.element.remove();
  markets.delete(marketId);
}

/** An answer that is no older than what the page shows: whichever server gives it. */
function read(path) {
  return fetch(path, { headers: block < 0 ? {} : { "X-Min-Block": String(block) } });
}

/** A market that a reorganisation took away, and that is there again. */
async function showAgain(marketId) {
  const answer = await read(`/api/markets/${marketId}`);
  if (answer.ok) addMarket(await answer.json(), true);
}

// --- trades -----------------------------------------------------------------------------------------------------------

function addTrade(trade) {
  const card = markets.get(trade.marketId);
  if (!card) return;
  const outcome = card.outcomes[trade.outcome] ?? trade.outcome;
  const time = new Date(trade.timestamp * 1000);
  const entry = make(
    "li",
    { "data-trade": trade.id, "data-block": trade.blockNumber, "data-finality": trade.finality },
    make("time", { datetime: time.toISOString() }, time.toLocaleTimeString()),
    make("span", { class: `side ${trade.side}` }, trade.side === "buy" ? "bought" : "sold"),
    make("span", {}, `${amount(trade.amount, card.decimals)} ${outcome}`),
    make("span", { class: "at" }, trade.price === null ? "" : `at ${trade.price.toFixed(3)}`),
    make("span", { class: "of" }, card.question),
    make("span", { class: "finality" }, trade.finality),
  );
  $("trades").prepend(entry);
  while ($("trades").childElementCount > MOST_TRADES) $("trades").lastElementChild.remove();
  $("no-trades").hidden = true;
}

function revertTrade({ id }) {
  const entry = document.querySelector(`[data-trade="${CSS.escape(id)}"]`);
  if (!entry) return;
  entry.dataset.finality = "reverted";
  entry.querySelector(".finality").textContent = "reverted";
}

function promote({ safeBlock, finalizedBlock }) {
  $("final").textContent = finalizedBlock < 0 ? "–" : number.format(finalizedBlock);
  for (const entry of document.querySelectorAll('[data-finality="pending"], [data-finality="safe"]')) {
    const block = Number(entry.dataset.block);
    const finality = block <= finalizedBlock ? "final" : block <= safeBlock ? "safe" : entry.dataset.finality;
    entry.dataset.finality = entry.querySelector(".finality").textContent = finality;
  }
}

// --- the feed ---------------------------------------------------------------------------------------------------------

const handle = {
  trade: addTrade,
  trade_reverted: revertTrade,
  price_update: ({ marketId, prices }) => markets.get(marketId)?.showPrices(prices),
  market_update: (message) => markets.get(message.marketId)?.showState(message),
  market_created: ({ marketId }) => (followed.has(marketId) ? showAgain(marketId) : follow([marketId], true)),
  market_reverted: ({ marketId }) => dropMarket(marketId),
  heartbeat: (message) => {
    showBlock(message.blockNumber);
    $("lag").textContent = message.lagBlocks === null ? "–" : plural(message.lagBlocks, "block");
    promote(message);
  },
  finality: promote,
};

function take(message) {
  messages += 1;
  $("messages").textContent = number.format(messages);
  if ("blockNumber" in message && "seq" in message) showBlock(message.blockNumber);
  handle[message.type]?.(message);
}

let block = -1;
function showBlock(indexed) {
  block = Math.max(block, indexed);
  $("block").textContent = block < 0 ? "–" : number.format(block);
}

function showState(state) {
  if (state === "open") opened += 1;
  $("state").textContent = $("state").dataset.state = state;
  $("reconnects").textContent = number.format(Math.max(0, opened - 1));
}

const feed = new AurumSocket(new URL("/ws", location.href).href.replace(/^http/, "ws"), {
  onState: showState,
  onNotice: take,
  onGap: () => ($("gaps").textContent = number.format(feed.gaps)),
});
const followed = new Set();

/** Shows markets from their snapshots on. */
function follow(marketIds, isNew) {
  const ids = marketIds.filter((id) => !followed.has(id)).slice(0, MOST_MARKETS - followed.size);
  if (!ids.length) return;
  for (const id of ids) followed.add(id);
  feed.subscribe(
    { channel: "market", marketIds: ids },
    {
      onSnapshot: (market) => {
        addMarket(market, isNew);
        markets.get(market.marketId)?.showState(market);
      },
      onMessage: take,
    },
  );
  feed.subscribe(
    { channel: "prices", marketIds: ids },
    { onSnapshot: ({ marketId, prices }) => markets.get(marketId)?.showPrices(prices), onMessage: take },
  );
}

feed.subscribe({ channel: "markets" }, { onSnapshot: followBusiest, onMessage: take });

/** What there is already; what comes later is pushed. */
async function followBusiest(_, { blockNumber }) {
  showBlock(blockNumber);
  const answer = await read(`/api/markets?ordering=-volume&limit=${MOST_MARKETS}`);
  if (answer.ok) follow((await answer.json()).results.map((market) => market.marketId), false);
}
