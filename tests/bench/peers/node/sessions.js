// Sessions in Redis: a hash of its owner, its version and the resource as it is answered; written by
// compare-and-set, which also tells the watchers, so that events come in the order of the versions.
import { hash, randomUUID } from 'node:crypto';
import canonicalize from 'canonicalize';
import jsonpatch from 'fast-json-patch';
import { Redis } from 'ioredis';
import { config } from './config.js';

const MAX_TRIES = 100;
const WRITABLE = /^\/(data|name)(\/|$)/;
const TTL_SECONDS = 3600;

export const redis = new Redis({
  ...config.redis,
  scripts: {
    compareAndSet: {
      numberOfKeys: 1,
      lua: `local version = redis.call('HGET', KEYS[1], 'version')
            if version ~= ARGV[1] then return version end
            redis.call('HSET', KEYS[1], 'version', ARGV[2], 'resource', ARGV[3])
            redis.call('PUBLISH', KEYS[1], ARGV[4])
            return 0`,
    },
  },
});

export const keyOf = (id) => `session:{${id}}`;

const checksumOf = (data) => hash('sha256', canonicalize(data));

/** What an answer says went wrong. */
export class Refusal extends Error {
  constructor(status, code, more = {}) {
    super(code);
    this.status = status;
    this.body = { title: code, status, code, ...more };
  }
}

const tails = new Map(); // session -> the last of its changes in this process

/** One after the other for each session: changes of one process need not lose races against each other. */
async function inTurn(id, work) {
  const before = tails.get(id);
  const mine = before ? before.then(work, work) : work();
  tails.set(id, mine);
  try {
    return await mine;
  } finally {
    if (tails.get(id) === mine) tails.delete(id);
  }
}

export async function create(claims, { name, type, data = {}, status = 'active' }) {
  const id = randomUUID();
  const now = new Date();
  const at = now.toISOString();
  const resource = {
    id, userId: claims.sub, name, type, status, role: 'owner', version: 1, epoch: 1, createdAt: at,
    updatedAt: at, completedAt: null, ttlSeconds: TTL_SECONDS, onIdle: 'pause',
    expiresAt: new Date(now.getTime() + TTL_SECONDS * 1000).toISOString(),
    activeDeviceId: claims.device_id, lastModified: at, modifiedBy: claims.device_id, data,
    checksum: checksumOf(data),
  };
  const text = JSON.stringify(resource);
  await redis.hset(keyOf(id), { owner: claims.sub, version: 1, resource: text });
  const event = {
    type: 'session_created', sessionId: id, epoch: 1, version: 1, timestamp: at, userId: claims.sub,
    deviceId: claims.device_id, session: resource,
  };
  return { resource, text, event };
}

/** The resource as JSON, and its version. */
export async function read(claims, id, isAllowed) {
  const [owner, version, text] = await redis.hmget(keyOf(id), 'owner', 'version', 'resource');
  if (!owner || !isAllowed(claims, owner)) throw new Refusal(404, 'not_found');
  return { version, text };
}

function apply(resource, operations) {
  for (const { op, path, from } of operations) {
    if ((op !== 'test' && !WRITABLE.test(path)) || (op === 'move' && !WRITABLE.test(from)))
      throw new Refusal(422, 'path_not_writable', { pointer: path });
  }
  try {
    jsonpatch.applyPatch(resource, operations, true, true);
  } catch (error) {
    throw new Refusal(422, 'patch_failed', { index: error.index });
  }
  if (resource.data === undefined || typeof resource.name !== 'string')
    throw new Refusal(422, 'invalid_value');
}

async function tryPatch(claims, id, body, isAllowed) {
  const { version: base, text } = await read(claims, id, isAllowed);
  const resource = JSON.parse(text);
  if (body.baseVersion !== undefined && body.baseVersion !== resource.version)
    throw new Refusal(409, 'version_conflict', { currentVersion: resource.version });
  apply(resource, body.operations);
  const baseVersion = resource.version;
  const now = Date.now();
  resource.version = baseVersion + 1;
  resource.updatedAt = resource.lastModified = new Date(now).toISOString();
  resource.expiresAt = new Date(now + resource.ttlSeconds * 1000).toISOString();
  resource.modifiedBy = claims.device_id;
  resource.checksum = checksumOf(resource.data);
  const event = {
    type: 'state_delta', sessionId: id, epoch: 1, version: resource.version,
    timestamp: resource.lastModified, userId: claims.sub, deviceId: claims.device_id, baseVersion,
    operations: body.operations, checksum: resource.checksum,
  };
  const told = JSON.stringify(event);
  const found = await redis.compareAndSet(
    keyOf(id), base, resource.version, JSON.stringify(resource), told);
  return found === 0 ? { resource, baseVersion, event } : null;
}

export function patch(claims, id, body, isAllowed) {
  return inTurn(id, async () => {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const done = await tryPatch(claims, id, body, isAllowed);
      if (done) return done;
    }
    throw new Refusal(503, 'unavailable');
  });
}
