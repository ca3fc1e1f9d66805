// WebSockets: a room for each watched session, fed by its Redis channel.
import { Redis } from 'ioredis';
import { WebSocketServer } from 'ws';
import { config } from './config.js';
import { keyOf, read } from './sessions.js';
import { claimsOf, mayRead } from './tokens.js';

const MAX_QUEUED_BYTES = 1 << 20;
const PING_MS = 25_000;
const TEXT = { binary: false };

const subscriber = new Redis(config.redis);
const rooms = new Map(); // channel -> {watchers, subscribed}
const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 64 << 10 });

function send(socket, message) {
  if (socket.bufferedAmount > MAX_QUEUED_BYTES) socket.terminate();
  else socket.send(message, TEXT);
}

subscriber.on('messageBuffer', (channel, message) => {
  const room = rooms.get(channel.latin1Slice());
  if (!room) return;
  for (const socket of room.watchers) {
    if (socket.early) socket.early.push(message);
    else send(socket, message);
  }
});

function enter(channel, socket) {
  let room = rooms.get(channel);
  if (!room) {
    room = { watchers: new Set(), subscribed: subscriber.subscribe(channel) };
    rooms.set(channel, room);
  }
  room.watchers.add(socket);
  return room.subscribed;
}

function leave(channel, socket) {
  const room = rooms.get(channel);
  room?.watchers.delete(socket);
  if (room?.watchers.size !== 0) return;
  rooms.delete(channel);
  subscriber.unsubscribe(channel);
}

/** Subscribed first, then the state, then what came meanwhile and is newer. */
async function join(socket, claims, id) {
  const channel = keyOf(id);
  socket.early = [];
  socket.on('close', () => leave(channel, socket));
  await enter(channel, socket);
  const { version, text } = await read(claims, id, mayRead);
  socket.send(`{"type":"state_sync","sessionId":"${id}","epoch":1,"version":${version},` +
    `"reason":"initial","session":${text}}`);
  for (const message of socket.early)
    if (JSON.parse(message).version > Number(version)) send(socket, message);
  socket.early = null;
}

function greet(socket, claims, id) {
  socket.isAlive = true;
  socket.on('pong', () => { socket.isAlive = true; });
  socket.on('error', () => socket.terminate());
  socket.send(JSON.stringify({ type: 'hello', serverTime: new Date().toISOString() }));
  join(socket, claims, id).catch((error) => {
    socket.send(JSON.stringify({ type: 'error', code: error.body?.code ?? 'internal' }));
    socket.close(4404);
  });
}

function ping() {
  for (const socket of server.clients) {
    if (!socket.isAlive) socket.terminate();
    socket.isAlive = false;
    socket.ping();
  }
}

export function upgrade(request, socket, head) {
  const url = new URL(request.url, 'http://localhost');
  const claims = claimsOf(request);
  const id = url.searchParams.get('session');
  if (url.pathname !== '/ws' || !claims || !id) {
    socket.end(`HTTP/1.1 ${claims ? '400 Bad Request' : '401 Unauthorized'}\r\n` +
      'Connection: close\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  server.handleUpgrade(request, socket, head, (webSocket) => greet(webSocket, claims, id));
}

setInterval(ping, PING_MS).unref();

export const closeFanout = async () => {
  for (const socket of server.clients) socket.terminate();
  await subscriber.quit();
};
