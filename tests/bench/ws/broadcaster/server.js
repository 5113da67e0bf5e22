// A plain broadcaster on PORT: what comes as a UDP packet to the same port goes to whoever subscribed to its market.
'use strict';

const dgram = require('dgram');
const { WebSocket, WebSocketServer } = require('ws');

const PORT = Number(process.env.PORT);
const rooms = new Map();

const server = new WebSocketServer({ host: '127.0.0.1', port: PORT, perMessageDeflate: false, backlog: 4096 });
server.on('connection', (socket) => {
  socket.on('message', (data) => {
    const { channel, marketId } = JSON.parse(data);
    if (!rooms.has(marketId)) rooms.set(marketId, new Set());
    const room = rooms.get(marketId).add(socket);
    socket.on('close', () => room.delete(socket));
    socket.send(JSON.stringify({ type: 'subscribed', channel, marketId, seq: 0, snapshot: null }));
  });
});

const packets = dgram.createSocket('udp4');
packets.on('message', (packet) => {
  // Encoded once, and not copied for each: as cheap as `ws` has it.
  for (const socket of rooms.get(JSON.parse(packet).marketId) ?? []) {
    if (socket.readyState === WebSocket.OPEN) socket.send(packet, { binary: false });
  }
});
packets.bind(PORT, '127.0.0.1');
