// The audit trail's far end: jobs in flight together become one INSERT.
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { QUEUE, config } from './config.js';

const CONCURRENCY = 200; // jobs in hand, and so the largest batch

const pool = new pg.Pool({ connectionString: config.databaseUrl, max: 4 });

await pool.query(`create table if not exists session_events (
  session_id uuid not null, version integer not null, type text not null, device_id text, user_id uuid not null,
  occurred_at timestamptz not null, payload json not null, primary key (session_id, version))`);

const INSERT = {
  name: 'insert_events',
  text: `insert into session_events (session_id, version, type, device_id, user_id, occurred_at, payload)
         select * from unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::uuid[], $6::timestamptz[],
                              $7::json[]) on conflict do nothing`,
};

let waiting = []; // [{event, resolve, reject}]
let isWriting = false;

async function insert(batch) {
  const column = (of) => batch.map(({ event }) => of(event));
  const values = [
    column((e) => e.sessionId), column((e) => e.version), column((e) => e.type), column((e) => e.deviceId),
    column((e) => e.userId), column((e) => e.timestamp), column((e) => JSON.stringify(e)),
  ];
  try {
    await pool.query({ ...INSERT, values });
    for (const { resolve } of batch) resolve();
  } catch (error) {
    for (const { reject } of batch) reject(error);
  }
}

async function writeWhileThereIs() {
  isWriting = true;
  while (waiting.length) {
    const batch = waiting;
    waiting = [];
    await insert(batch);
  }
  isWriting = false;
}

const write = (event) => new Promise((resolve, reject) => {
  waiting.push({ event, resolve, reject });
  if (!isWriting) setImmediate(() => { if (!isWriting) writeWhileThereIs(); });
});

const worker = new Worker(QUEUE, (job) => write(job.data), {
  connection: new Redis(config.redis),
  concurrency: CONCURRENCY,
});
worker.on('error', (error) => console.error(error.message));
await worker.waitUntilReady();
console.log('ready');

process.on('SIGTERM', async () => {
  await worker.close();
  await pool.end();
  process.exit(0);
});
