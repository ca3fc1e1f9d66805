// The peer's one process for REST and WebSocket.
import Fastify from 'fastify';
import { closeAudit, record } from './audit.js';
import { config } from './config.js';
import { closeFanout, upgrade } from './fanout.js';
import { Refusal, create, patch, read, redis } from './sessions.js';
import { claimsOf, mayRead } from './tokens.js';

const JSON_TYPE = 'application/json; charset=utf-8';
const text = { type: 'string' };
const integer = { type: 'integer' };

const createSchema = {
  body: {
    type: 'object',
    required: ['name', 'type'],
    properties: {
      name: { type: 'string', minLength: 1, maxLength: 255 },
      type: { type: 'string', pattern: '^[a-z0-9_-]{1,50}$' },
      status: { enum: ['active', 'pending'] },
      data: {},
    },
  },
};

const patchSchema = {
  body: {
    type: 'object',
    required: ['operations'],
    properties: {
      baseVersion: integer,
      operations: {
        type: 'array',
        maxItems: 1000,
        items: {
          type: 'object',
          required: ['op', 'path'],
          properties: {
            op: { enum: ['add', 'remove', 'replace', 'move', 'copy', 'test'] }, path: text, from: text, value: {},
          },
        },
      },
    },
  },
  response: {
    200: {
      type: 'object',
      properties: {
        id: text, version: integer, baseVersion: integer, epoch: integer, checksum: text, lastModified: text,
        rebased: { type: 'boolean' },
      },
    },
  },
};

const app = Fastify({ logger: false, bodyLimit: 1 << 20, ajv: { customOptions: { coerceTypes: false } } });

function who(request) {
  const claims = claimsOf(request);
  if (!claims) throw new Refusal(401, 'unauthenticated');
  return claims;
}

app.setErrorHandler((error, request, reply) => {
  const status = error.status ?? error.statusCode ?? 500;
  reply.code(status).type('application/problem+json')
    .send(JSON.stringify(error.body ?? { title: error.message, status, code: 'invalid_request' }));
});

app.post('/sessions', { schema: createSchema }, async (request, reply) => {
  const made = await create(who(request), request.body);
  await record(made.event);
  reply.code(201).type(JSON_TYPE).header('etag', '"1"').header('location', `/sessions/${made.resource.id}`);
  return made.text;
});

app.get('/sessions/:id', async (request, reply) => {
  const { version, text: resource } = await read(who(request), request.params.id, mayRead);
  reply.type(JSON_TYPE).header('etag', `"${version}"`);
  return resource;
});

app.patch('/sessions/:id', { schema: patchSchema }, async (request, reply) => {
  const { resource, baseVersion, event } = await patch(who(request), request.params.id, request.body, mayRead);
  await record(event);
  reply.header('etag', `"${resource.version}"`);
  return {
    id: resource.id, version: resource.version, baseVersion, epoch: 1, checksum: resource.checksum,
    lastModified: resource.lastModified, rebased: false,
  };
});

app.get('/health', async () => ({ status: 'ok' }));

app.server.on('upgrade', upgrade);
await app.listen({ host: '127.0.0.1', port: config.port, backlog: 4096 });

process.on('SIGTERM', async () => {
  await closeFanout();
  app.server.closeAllConnections();
  await app.close();
  await closeAudit();
  await redis.quit();
  process.exit(0);
});
