/**
 * A client of Aurum's WebSocket that loses nothing. One file without dependencies, for browsers and Node.js.
 *
 *     const feed = new AurumSocket("wss://api.example/ws");
 *     feed.subscribe({ channel: "prices", marketIds: ["0x…", "0x…"] }, {
 *       onSnapshot: (prices, { key, seq }) => …, // the state that the messages after it change
 *       onMessage: (message) => …,               // each once, in the order of `seq`
 *     });
 *
 * It connects again whenever the connection is gone or silent, and resumes each channel behind the last message that
 * it has handed out. Where messages are lost for good, `onSnapshot` is called again, and says where to go on from.
 */

// What tells channels of a kind apart. The others have none.
const KEYS = { market: "marketId", prices: "marketId", user: "address", oracle: "questionId" };
const BATCHED = { market: "marketIds", prices: "marketIds" };
const PRIVATE = new Set(["watchlist"]);
const BATCH_SIZE = 100;
// After these the same frame may well be served.
const PASSING = new Set(["unavailable", "too_many_commands"]);

const SILENCE = 30_000; // ms without a word (there is a heartbeat every 15 s) after which a connection is dead
const CONNECT_TIMEOUT = 10_000; // ms
const FIRST_WAIT = 500; // ms before the second attempt to connect; twice as long before each further one
const LONGEST_WAIT = 30_000; // ms
const RETRY_WAIT = 1_000; // ms before a frame is sent again
const FRAME_PAUSE = 120; // ms between two frames, when more than a few are to be sent: 10 a second are allowed
const FRAMES_AT_ONCE = 8;
const RENEW_BEFORE = 60_000; // ms before a token ends

/** One socket. Sends frames no faster than the server takes them, and notices when nobody is there any more. */
class Connection {
  #socket;
  #queue = [];
  #allowance = FRAMES_AT_ONCE;
  #refill;
  #watchdog;
  #heard = Date.now();

  constructor(url, WebSocketClass, { onOpen, onMessage, onClose }) {
    this.isOpen = false;
    this.isAuthenticated = false;
    this.onClose = onClose;
    const socket = (this.#socket = new WebSocketClass(url));
    socket.onopen = () => {
      this.isOpen = true;
      this.#heard = Date.now();
      onOpen(this);
    };
    socket.onmessage = (event) => {
      this.#heard = Date.now();
      onMessage(this, JSON.parse(event.data));
    };
    socket.onerror = () => {}; // a close follows
    socket.onclose = (event) => this.#end(event.code);
    this.#watchdog = setInterval(() => {
      if (Date.now() - this.#heard > (this.isOpen ? SILENCE : CONNECT_TIMEOUT)) this.close();
    }, 1_000);
    this.#refill = setInterval(() => {
      this.#allowance = Math.min(FRAMES_AT_ONCE, this.#allowance + 1);
      this.#flush();
    }, FRAME_PAUSE);
  }

  send(frame) {
    this.#queue.push(frame);
    this.#flush();
  }

  /** Ends it now: a dead peer would keep a closing handshake waiting. */
  close() {
    this.#end(1006);
    this.#socket.close();
  }

  #flush() {
    while (this.isOpen && this.#allowance > 0 && this.#queue.length) {
      this.#allowance -= 1;
      this.#socket.send(JSON.stringify(this.#queue.shift()));
    }
  }

  #end(code) {
    clearInterval(this.#watchdog);
    clearInterval(this.#refill);
    this.isOpen = false;
    const { onClose } = this;
    this.onClose = () => {};
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    onClose(this, code);
  }
}

/** What is followed: a channel of one key, or all that a channel without keys has. */
class Entry {
  constructor(channel, key, handlers) {
    this.channel = channel;
    this.key = key;
    this.handlers = handlers;
    this.seqs = new Map(); // the last `seq` that was handed out; of the watchlist, by market
    this.connection = null; // where it was asked for
    this.asked = null; // the `id` of the frame that asks for it, until that is answered
  }
}

export class AurumSocket {
  #url;
  #options;
  #entries = new Map();
  #wanted = new Set(); // entries to be asked for
  #pending = new Map(); // id -> what was asked for by it
  #connection = null;
  #leaving = null; // the connection whose server is about to go
  #attempts = 0;
  #timers = new Set();
  #lastId = 0;
  #isClosed = false;
  #isDenied = false; // the token is no good

  /**
   * `url` is `wss://…/ws`. Options, each of which may be left out:
   *   WebSocket  the class to use, where there is no global one (Node.js before 22: that of the package `ws`)
   *   token      a function that returns an access token, or a promise of one, for private channels
   *   onState    "connecting", "open", "waiting" (for the next attempt) or "closed"
   *   onNotice   messages of the connection: `heartbeat`, `finality`, `draining`
   *   onGap      ({ channel, key, expected, seq }): messages were missing, and are asked for again
   */
  constructor(url, options = {}) {
    this.#url = url;
    this.#options = { WebSocket: globalThis.WebSocket, ...options };
    this.gaps = 0;
    this.#connect();
  }

  /**
   * Follows `{ channel }` with `marketId`, `marketIds`, `address` or `questionId`. With `since` (a `seq`, or an object of
   * them by market id) it starts behind that message instead of from a snapshot. Handlers:
   *   onSnapshot (snapshot, { channel, key, seq, blockNumber })
   *   onMessage  (message)
   *   onError    ({ code, message, channel, key }): it is not followed any more
   * Returns `{ close }`, which ends it.
   */
  subscribe({ channel, since, ...names }, handlers) {
    if (PRIVATE.has(channel) && !this.#options.token) throw new Error(`${channel} needs a token`);
    const keys = names[BATCHED[channel]] ?? [names[KEYS[channel]] ?? ""];
    const entries = keys.map((key) => new Entry(channel, key.toLowerCase(), handlers));
    const taken = entries.find((entry) => this.#entries.has(nameOf(entry)));
    if (taken) throw new Error(`${nameOf(taken)} is followed already`);
    for (const entry of entries) {
      if (typeof since === "number") entry.seqs.set(entry.key, since);
      for (const [key, seq] of Object.entries(Object(since))) {
        if (PRIVATE.has(channel) || key.toLowerCase() === entry.key) entry.seqs.set(key.toLowerCase(), seq);
      }
      this.#entries.set(nameOf(entry), entry);
      this.#want(entry);
    }
    return { close: () => entries.forEach((entry) => this.#forget(entry)) };
  }

  /** Ends all of it. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#leaving?.close();
    this.#connection?.close();
    this.#state("closed");
  }

  // --- connections -----------------------------------------------------------------------------------------------

  #connect() {
    if (this.#isClosed) return;
    this.#state("connecting");
    this.#connection = new Connection(this.#url, this.#options.WebSocket, {
      onOpen: (connection) => this.#opened(connection),
      onMessage: (connection, message) => this.#take(connection, message),
      onClose: (connection, code) => this.#lost(connection, code),
    });
  }

  #opened(connection) {
    this.#state("open");
    for (const entry of this.#entries.values()) this.#want(entry);
    if (this.#options.token && !this.#isDenied) this.#authenticate(connection);
  }

  #lost(connection, code) {
    for (const [id, { connection: asked }] of this.#pending) if (asked === connection) this.#pending.delete(id);
    for (const entry of this.#entries.values()) {
      if (entry.connection === connection) entry.connection = entry.asked = null;
    }
    if (connection === this.#leaving) this.#leaving = null;
    if (connection !== this.#connection || this.#isClosed) return;
    this.#connection = null;
    if (code === 4401 && !connection.isAuthenticated) this.#deny();
    this.#state("waiting");
    // Of many clients that lose their server at once, each comes back at a time of its own.
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempts++) * (0.5 + Math.random() / 2);
    this.#later(wait, () => this.#connect());
  }

  /** The server goes: the old connection tells what it can until the new one has taken over. */
  #drain(connection) {
    if (connection !== this.#connection) return;
    this.#leaving?.close();
    this.#leaving = connection;
    this.#connect();
  }

  // --- signing in ------------------------------------------------------------------------------------------------

  async #authenticate(connection) {
    try {
      const token = await this.#options.token();
      if (connection.isOpen) connection.send({ type: "auth", token, id: this.#ask({ connection }) });
    } catch {
      this.#deny();
    }
  }

  #authenticated(connection, { expiresAt }) {
    connection.isAuthenticated = true;
    for (const entry of this.#entries.values()) if (PRIVATE.has(entry.channel)) this.#want(entry);
    const left = expiresAt * 1_000 - Date.now();
    this.#later(Math.min(2 ** 31 - 1, Math.max(left / 2, left - RENEW_BEFORE)), () => {
      if (connection.isOpen) this.#authenticate(connection);
    });
  }

  /** What is public goes on without it. */
  #deny() {
    this.#isDenied = true;
    const error = { code: "unauthenticated", message: "The token is no good." };
    for (const entry of [...this.#entries.values()]) if (PRIVATE.has(entry.channel)) this.#fail(entry, error);
  }

  // --- asking ----------------------------------------------------------------------------------------------------

  #want(entry) {
    if (!this.#wanted.size) this.#later(0, () => this.#subscribeToWanted());
    this.#wanted.add(entry);
  }

  #subscribeToWanted() {
    const connection = this.#connection;
    const wanted = [...this.#wanted];
    this.#wanted.clear();
    if (!connection?.isOpen) return; // all is asked for when it is
    const ready = wanted.filter(
      (entry) =>
        this.#entries.get(nameOf(entry)) === entry &&
        !(entry.connection === connection && entry.asked !== null) &&
        (!PRIVATE.has(entry.channel) || connection.isAuthenticated),
    );
    for (const entries of batches(ready)) {
      const id = this.#ask({ connection, entries });
      for (const entry of entries) [entry.connection, entry.asked] = [connection, id];
      connection.send({ type: "subscribe", ...namesOf(entries), ...sinceOf(entries), id });
    }
  }

  #ask(what) {
    this.#lastId += 1;
    this.#pending.set(this.#lastId, what);
    return this.#lastId;
  }

  #forget(entry) {
    if (this.#entries.get(nameOf(entry)) !== entry) return;
    this.#entries.delete(nameOf(entry));
    if (entry.connection?.isOpen) entry.connection.send({ type: "unsubscribe", ...namesOf([entry]) });
  }

  // --- what comes ------------------------------------------------------------------------------------------------

  #take(connection, message) {
    if (connection === this.#connection) this.#attempts = 0;
    const { type } = message;
    if (type === "subscribed") this.#subscribed(message);
    else if (type === "resync") this.#resync(connection, message);
    else if (type === "error") this.#refused(message);
    else if (type === "authenticated") this.#authenticated(connection, message);
    else if ("seq" in message && "channel" in message) this.#push(connection, message);
    else if (type === "heartbeat" || type === "finality" || type === "draining") {
      call(this.#options.onNotice, message);
      if (type === "draining") this.#drain(connection);
    }
  }

  #subscribed(answer) {
    const asked = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    for (const entry of asked?.entries ?? []) {
      if (entry.asked !== answer.id) continue;
      entry.asked = null;
      const starts = answer.subscriptions ?? [answer];
      for (const start of starts.filter((each) => !entry.key || keyOf(each, entry) === entry.key)) {
        if (start.snapshot === null) continue; // resumed: what was missed comes next
        const key = keyOf(start, entry);
        entry.seqs.set(key, start.seq);
        const at = { channel: entry.channel, key, seq: start.seq, blockNumber: answer.blockNumber };
        call(entry.handlers.onSnapshot, start.snapshot, at);
      }
    }
  }

  /** Messages are lost for good: a snapshot says where to go on from. */
  #resync(connection, message) {
    const entry = this.#entries.get(nameOf({ channel: message.channel, key: ownKey(message) }));
    if (entry?.connection !== connection) return;
    entry.seqs.delete(keyOf(message, entry));
    entry.asked = null;
    this.#want(entry);
  }

  #refused({ id, code, message, marketIds }) {
    const asked = this.#pending.get(id);
    this.#pending.delete(id);
    const entries = (asked?.entries ?? []).filter((entry) => entry.asked === id);
    // Of several markets, those that there are can be asked for again.
    const unknown = code === "unknown_market" && marketIds ? new Set(marketIds) : null;
    for (const entry of entries) {
      entry.asked = null;
      if (PASSING.has(code)) this.#later(RETRY_WAIT, () => this.#want(entry));
      else if (unknown && !unknown.has(entry.key)) this.#want(entry);
      else this.#fail(entry, { code, message });
    }
    if (asked && !asked.entries && PASSING.has(code)) {
      this.#later(RETRY_WAIT, () => asked.connection.isOpen && this.#authenticate(asked.connection));
    }
  }

  #fail(entry, error) {
    this.#entries.delete(nameOf(entry));
    call(entry.handlers.onError, { ...error, channel: entry.channel, key: entry.key });
  }

  #push(connection, message) {
    const own = this.#entries.get(nameOf({ channel: message.channel, key: ownKey(message) }));
    const watchlist = message.channel === "market" ? this.#entries.get("watchlist:") : undefined;
    for (const entry of [own, watchlist]) if (entry) this.#deliver(connection, entry, message);
  }

  #deliver(connection, entry, message) {
    const key = keyOf(message, entry);
    const last = entry.seqs.get(key);
    // Before its snapshot, or handed out already: after a draining two connections tell the same.
    if (last === undefined || message.seq <= last) return;
    const first = message.skipped?.[0] ?? message.seq;
    if (first > last + 1) {
      const isAsked = entry.asked !== null || this.#wanted.has(entry);
      if (entry.connection !== connection || isAsked) return;
      this.gaps += 1;
      call(this.#options.onGap, { channel: entry.channel, key, expected: last + 1, seq: message.seq });
      this.#want(entry);
      return;
    }
    entry.seqs.set(key, message.seq);
    call(entry.handlers.onMessage, message);
  }

  // --- what they share -------------------------------------------------------------------------------------------

  #state(state) {
    call(this.#options.onState, state);
  }

  #later(milliseconds, work) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#isClosed) work();
    }, milliseconds);
    this.#timers.add(timer);
  }
}

function nameOf({ channel, key }) {
  return `${channel}:${key}`;
}

/** The key that a message of a channel names itself. */
function ownKey(message) {
  return message.all ? "" : (message[KEYS[message.channel]] ?? "");
}

/** Under which of an entry's `seqs` a message counts. */
function keyOf(message, { channel, key }) {
  return PRIVATE.has(channel) ? message.marketId : key && (message[KEYS[channel]] ?? "");
}

/** Groups entries into frames. */
function* batches(entries) {
  for (const channel of new Set(entries.map((entry) => entry.channel))) {
    const own = entries.filter((entry) => entry.channel === channel);
    const size = BATCHED[channel] ? BATCH_SIZE : 1;
    for (let start = 0; start < own.length; start += size) yield own.slice(start, start + size);
  }
}

function namesOf(entries) {
  const [{ channel, key }] = entries;
  if (entries.length > 1) return { channel, [BATCHED[channel]]: entries.map((entry) => entry.key) };
  return key ? { channel, [KEYS[channel]]: key } : { channel };
}

function sinceOf(entries) {
  const [{ channel, key, seqs }] = entries;
  if (entries.length === 1 && !PRIVATE.has(channel)) return seqs.has(key) ? { since: seqs.get(key) } : {};
  const known = entries.flatMap((entry) => [...entry.seqs]);
  return known.length ? { since: Object.fromEntries(known) } : {};
}

/** A handler that fails must not stop the feed. */
function call(handler, ...values) {
  try {
    handler?.(...values);
  } catch (error) {
    console.error(error);
  }
}
