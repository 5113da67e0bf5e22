// Follows channels by docs/client, and prints what it hands out, a line of JSON each.
import WebSocket from "ws";
import { AurumSocket } from "./aurum-socket.js";

const [url, ...channels] = process.argv.slice(2);
const say = (kind, value) => console.log(JSON.stringify({ kind, value }));
const feed = new AurumSocket(url, {
  WebSocket,
  onState: (state) => say("state", state),
  onGap: (gap) => say("gap", gap),
});
const handlers = {
  onMessage: (message) => say("message", message),
  onSnapshot: (snapshot, at) => say("snapshot", at),
  onError: (error) => say("error", error),
};
for (const channel of channels) feed.subscribe(JSON.parse(channel), handlers);
process.stdin.on("end", () => feed.close()).resume();
