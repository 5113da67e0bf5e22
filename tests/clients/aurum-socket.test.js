// What the client does in situations that a real server brings about rarely: a socket that the test speaks for.
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { AurumSocket } from "./aurum-socket.js";

const A = "0x" + "aa".repeat(32);
const B = "0x" + "bb".repeat(32);

class FakeSocket {
  static all = [];

  constructor(url) {
    this.url = url;
    this.frames = [];
    this.isClosed = false;
    FakeSocket.all.push(this);
  }

  send(text) {
    this.frames.push(JSON.parse(text));
  }

  close() {
    this.isClosed = true;
  }

  open() {
    this.onopen();
    mock.timers.tick(1);
  }

  say(...messages) {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
    mock.timers.tick(1);
  }

  /** Takes the frames that came since. */
  heard() {
    return this.frames.splice(0);
  }
}

/** A client with a fake socket, and what it hands out. */
function start(options = {}) {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  FakeSocket.all = [];
  const seen = { messages: [], snapshots: [], errors: [], states: [], gaps: [], notices: [] };
  const handlers = {
    onMessage: (message) => seen.messages.push(message.seq),
    onSnapshot: (snapshot, at) => seen.snapshots.push([snapshot, at.key, at.seq]),
    onError: (error) => seen.errors.push([error.code, error.key]),
  };
  const feed = new AurumSocket("ws://test/ws", {
    WebSocket: FakeSocket,
    onState: (state) => seen.states.push(state),
    onGap: (gap) => seen.gaps.push(gap),
    onNotice: (notice) => seen.notices.push(notice.type),
    ...options,
  });
  return { feed, handlers, seen };
}

const last = () => FakeSocket.all.at(-1);
const prices = (seq, more = {}) => ({ type: "price_update", channel: "prices", marketId: A, seq, ...more });
const subscribed = (id, seq, snapshot) => ({ type: "subscribed", channel: "prices", marketId: A, id, seq, snapshot });

function startWithPrices(options) {
  const started = start(options);
  started.subscription = started.feed.subscribe({ channel: "prices", marketId: A }, started.handlers);
  last().open();
  const [frame] = last().heard();
  assert.deepEqual(frame, { type: "subscribe", channel: "prices", marketId: A, id: frame.id });
  last().say(subscribed(frame.id, 5, "state at 5"));
  return started;
}

test("a gap is seen and filled", () => {
  const { feed, seen } = startWithPrices();
  last().say(prices(6), prices(8), prices(9));
  const [frame] = last().heard();
  assert.equal(frame.since, 6);
  assert.deepEqual(seen.gaps, [{ channel: "prices", key: A, expected: 7, seq: 8 }]);
  last().say(prices(10), subscribed(frame.id, 10, null), prices(7), prices(8), prices(9), prices(10), prices(11));
  assert.deepEqual(seen.messages, [6, 7, 8, 9, 10, 11]);
  assert.equal(feed.gaps, 1);
  assert.deepEqual(last().heard(), []);
});

test("a message that stands for others leaves no gap", () => {
  const { feed, seen } = startWithPrices();
  last().say(prices(6), prices(9, { skipped: [7, 8] }), prices(9), prices(10));
  assert.deepEqual(seen.messages, [6, 9, 10]);
  assert.equal(feed.gaps, 0);
});

test("after a cut it resumes, each time a while later", () => {
  const { seen } = startWithPrices();
  last().say(prices(6));
  const waits = [];
  for (let attempt = 0; attempt < 9; attempt++) {
    const count = FakeSocket.all.length;
    last().onclose({ code: 1006 });
    let waited = 0;
    for (; FakeSocket.all.length === count; waited += 10) mock.timers.tick(10);
    waits.push(waited);
  }
  waits.forEach((wait, attempt) => {
    const longest = Math.min(30_000, 500 * 2 ** attempt);
    assert.ok(wait >= longest / 2 - 10 && wait <= longest + 10, `${attempt}: ${wait}`);
  });
  last().open();
  const [frame] = last().heard();
  assert.equal(frame.since, 6);
  last().say(subscribed(frame.id, 7, null), prices(7));
  assert.deepEqual(seen.messages, [6, 7]);
  assert.equal(seen.snapshots.length, 1);
});

test("where messages are lost for good it starts from a new snapshot", () => {
  const { seen } = startWithPrices();
  last().say({ type: "resync", channel: "prices", marketId: A });
  const [frame] = last().heard();
  assert.ok(!("since" in frame));
  last().say(subscribed(frame.id, 90, "state at 90"), prices(91));
  assert.deepEqual(seen.messages, [91]);
  assert.deepEqual(seen.snapshots, [
    ["state at 5", A, 5],
    ["state at 90", A, 90],
  ]);
});

test("a silent connection is given up", () => {
  const { seen } = startWithPrices();
  const silent = last();
  for (let heartbeat = 0; heartbeat < 4; heartbeat++) {
    mock.timers.tick(15_000);
    silent.say({ type: "heartbeat", seq: 1 });
  }
  assert.ok(!silent.isClosed);
  mock.timers.tick(32_000);
  assert.ok(silent.isClosed);
  mock.timers.tick(1_000);
  assert.notEqual(last(), silent);
  assert.deepEqual(seen.states, ["connecting", "open", "waiting", "connecting"]);
});

test("a connection that never opens is given up", () => {
  start();
  const first = last();
  mock.timers.tick(12_000);
  assert.ok(first.isClosed);
  mock.timers.tick(1_000);
  assert.notEqual(last(), first);
});

test("it moves to another server while the old one still tells", () => {
  const { seen } = startWithPrices();
  const old = last();
  old.say({ type: "draining", closesIn: 2 });
  const next = last();
  assert.notEqual(next, old);
  old.say(prices(6));
  next.open();
  const [frame] = next.heard();
  assert.equal(frame.since, 6);
  old.say(prices(7));
  next.say(subscribed(frame.id, 8, null), prices(7), prices(8));
  old.say(prices(8));
  old.onclose({ code: 1012 });
  next.say(prices(9));
  mock.timers.tick(5_000);
  assert.equal(last(), next);
  assert.deepEqual(seen.messages, [6, 7, 8, 9]);
  assert.deepEqual(seen.notices, ["draining"]);
});

test("markets are asked for together, and those that there are not are told", () => {
  const { feed, handlers, seen } = start();
  feed.subscribe({ channel: "prices", marketIds: [A.toUpperCase().replace("0X", "0x"), B] }, handlers);
  last().open();
  const [both] = last().heard();
  assert.deepEqual(both, { type: "subscribe", channel: "prices", marketIds: [A, B], id: both.id });
  last().say({ type: "error", code: "unknown_market", message: "…", marketIds: [B], id: both.id });
  const [one] = last().heard();
  assert.equal(one.marketId, A);
  assert.deepEqual(seen.errors, [["unknown_market", B]]);
  last().say(subscribed(one.id, 1, "state"), prices(2));
  assert.deepEqual(seen.messages, [2]);
});

test("what passes is tried again", () => {
  const { feed, handlers, seen } = start();
  feed.subscribe({ channel: "prices", marketId: A, since: 3 }, handlers);
  last().open();
  for (const code of ["unavailable", "too_many_commands"]) {
    const [frame] = last().heard();
    assert.equal(frame.since, 3);
    last().say({ type: "error", code, message: "…", id: frame.id });
    assert.deepEqual(last().heard(), []);
    mock.timers.tick(1_001);
    mock.timers.tick(1);
  }
  assert.equal(last().heard().length, 1);
  assert.deepEqual(seen.errors, []);
});

test("frames go no faster than the server takes them", () => {
  const { feed, handlers } = start();
  for (let number = 0; number < 40; number++) {
    feed.subscribe({ channel: "user", address: "0x" + String(number).padStart(40, "0") }, handlers);
  }
  last().open();
  assert.equal(last().heard().length, 8);
  mock.timers.tick(1_000);
  assert.equal(last().heard().length, 8);
  mock.timers.tick(10_000);
  assert.equal(last().heard().length, 24);
});

test("what is not followed any more is ended, and nothing of it handed out", () => {
  const { seen, subscription } = startWithPrices();
  subscription.close();
  last().say(prices(6));
  assert.deepEqual(last().heard(), [{ type: "unsubscribe", channel: "prices", marketId: A }]);
  assert.deepEqual(seen.messages, []);
});

test("a handler that throws does not stop the feed", () => {
  const { handlers, seen } = startWithPrices();
  const logged = mock.method(console, "error", () => {});
  handlers.onMessage = () => {
    throw new Error("mine");
  };
  last().say(prices(6));
  handlers.onMessage = (message) => seen.messages.push(message.seq);
  last().say(prices(7));
  assert.deepEqual(seen.messages, [7]);
  assert.equal(logged.mock.callCount(), 1);
  logged.mock.restore();
});

const watched = (marketId, seq, snapshot) => ({ marketId, seq, snapshot });

test("private channels wait for the token, resume by market, and renew it", async () => {
  let tokens = 0;
  const { feed, handlers, seen } = start({ token: async () => `token ${++tokens}` });
  feed.subscribe({ channel: "watchlist" }, handlers);
  last().open();
  await Promise.resolve();
  const [auth] = last().heard();
  assert.deepEqual(auth, { type: "auth", token: "token 1", id: auth.id });
  last().say({ type: "authenticated", id: auth.id, expiresAt: Date.now() / 1_000 + 600 });
  const [frame] = last().heard();
  assert.deepEqual(frame, { type: "subscribe", channel: "watchlist", id: frame.id });
  const subscriptions = [watched(A, 5, "a"), watched(B, 7, "b")];
  last().say({ type: "subscribed", channel: "watchlist", id: frame.id, subscriptions });
  last().say({ type: "trade", channel: "market", marketId: B, seq: 8 });
  last().say({ type: "trade", channel: "market", marketId: A, seq: 7 });
  assert.deepEqual(seen.messages, [8]);
  const [again] = last().heard();
  assert.deepEqual(again.since, { [A]: 5, [B]: 8 });
  for (let second = 0; second < 545; second += 15) {
    mock.timers.tick(15_000);
    last().say({ type: "heartbeat", seq: 1 });
  }
  await Promise.resolve();
  assert.equal(last().heard().at(-1).token, "token 2");
});

test("with a token that is no good it goes on with what is public", async () => {
  const { feed, handlers, seen } = start({ token: async () => "bad" });
  feed.subscribe({ channel: "watchlist" }, handlers);
  feed.subscribe({ channel: "markets" }, handlers);
  last().open();
  await Promise.resolve();
  last().onclose({ code: 4401 });
  mock.timers.tick(1_000);
  last().open();
  await Promise.resolve();
  assert.deepEqual(
    last().heard().map((frame) => frame.channel),
    ["markets"],
  );
  assert.deepEqual(seen.errors, [["unauthenticated", ""]]);
});
