// A client as people write it, on the types that openapi-typescript made of /api/schema (api.d.ts).
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const [base, address] = process.argv.slice(2) as [string, string];
const api = createClient<paths>({ baseUrl: base });

type Market = components["schemas"]["Market"];

/** What a request gave; what went wrong is thrown. */
function got<T>(answer: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (answer.data === undefined) throw new Error(answer.error?.detail);
  return answer.data;
}

async function allMarkets(): Promise<Market[]> {
  const markets: Market[] = [];
  let cursor: string | undefined;
  do {
    const query = { limit: 2, ordering: "createdAt" as const, ...(cursor ? { cursor } : {}) };
    const page = got(await api.GET("/api/markets", { params: { query } }));
    markets.push(...page.results);
    cursor = page.next ? (new URL(page.next).searchParams.get("cursor") ?? undefined) : undefined;
  } while (cursor);
  return markets;
}

const markets = await allMarkets();
const market = markets[0];
if (!market) throw new Error("no market");
const path = { id: market.marketId };

const prices = got(await api.GET("/api/markets/{id}/prices", { params: { path } }));
const sum: number | null = prices.prices === null ? null : prices.prices.reduce((total, price) => total + price, 0);

const query = { side: "buy" as const, outcome: 0, amount: "1000000" };
const quote = got(await api.GET("/api/markets/{id}/quote", { params: { path, query } }));
const paid: bigint = BigInt(quote.amountIn);

const positions = got(await api.GET("/api/users/{address}/positions", { params: { path: { address } } }));
const held: bigint = positions.results.reduce((total, position) => total + BigInt(position.amount), 0n);

const candles = got(await api.GET("/api/markets/{id}/prices/history", { params: { path, query: { interval: "1d" } } }));
const questions = got(await api.GET("/api/oracle/questions", { params: { query: { state: "committing" } } }));

// A typed problem: what the server says of a parameter that is not as it must be.
const refused = await api.GET("/api/markets", { params: { query: { limit: 100_000 } } });
const problem = refused.error;
// And the status that an answer which is still good has.
const first = await api.GET("/api/markets/{id}", { params: { path } });
const again = await fetch(first.response.url, { headers: { "If-None-Match": first.response.headers.get("ETag") ?? "" } });

console.log(
  JSON.stringify({
    markets: markets.map((each) => each.marketId),
    sum,
    paid: paid.toString(),
    held: held.toString(),
    series: candles.series.map((each) => each.outcome),
    stakes: questions.results.map((question) => question.dispute?.stake),
    problem: [problem?.status, problem?.errors],
    again: again.status,
  }),
);
