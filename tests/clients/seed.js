// What the pages of the Node.js backend did, word for word where its document gives it: the REST paths, the snippets of
// the WebSocket, the fields of its messages.
import WebSocket from "ws";

const [host, marketId, address, questionId] = process.argv.slice(2);

const rest = {};
for (const path of [
  "/api/markets",
  `/api/markets/${marketId}`,
  `/api/markets/${marketId}/positions`,
  `/api/markets/${marketId}/prices`,
  `/api/users/${address}/positions`,
  `/api/users/${address}/history`,
  "/api/oracle/questions",
  `/api/oracle/questions/${questionId}`,
  "/health",
  "/api/status",
]) {
  const response = await fetch(`http://${host}${path}`);
  rest[path] = [response.status, await response.json()];
}

const ws = new WebSocket(`ws://${host}/ws`);
const heard = {};
ws.onopen = () => {
  // Subscribe to market updates
  ws.send(JSON.stringify({
    type: 'subscribe',
    channel: 'market',
    marketId
  }));
  // Subscribe to price updates
  ws.send(JSON.stringify({
    type: 'subscribe',
    channel: 'prices',
    marketId
  }));
};
let subscribed = 0;
ws.onmessage = (event) => {
  const message = JSON.parse(event.data);
  if (message.type === 'subscribed' && ++subscribed === 2) console.log('subscribed');
  if (message.type === 'price_update') {
    const { type, marketId, prices, timestamp } = message;
    heard.price_update = { type, marketId, prices, timestamp };
  }
  if (message.type === 'trade') {
    const { type, marketId, trader, outcome, amount, price } = message;
    heard.trade = { type, marketId, trader, outcome, amount, price };
  }
  if (heard.price_update && heard.trade) ws.close();
};
ws.onclose = () => console.log(JSON.stringify({ rest, heard }));
