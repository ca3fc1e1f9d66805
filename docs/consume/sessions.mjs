// Every change of every session once, in order, none missing, for a service with a PostgreSQL database of its own: copy this file beside
// your program. npm install amqplib pg. Where the servers are is in the environment: AMQP_URL, DATABASE_URL, HANDOFF_URL, HANDOFF_TOKEN.
import amqp from "amqplib";
import pg from "pg";

const { AMQP_URL, DATABASE_URL, HANDOFF_URL, HANDOFF_TOKEN } = process.env;
const POSITIONS = "create table if not exists handoff_positions (session text primary key, epoch bigint not null, version bigint not null)";
const REACHED = "select epoch, version from handoff_positions where session = $1";
const ADVANCE = `insert into handoff_positions as at values ($1, $2, $3) on conflict (session) do update set epoch = excluded.epoch,
  version = excluded.version where (at.epoch, at.version) < (excluded.epoch, excluded.version)`;

class Away extends Error {} // Handoff does not answer as it should; it passes

/** Calls await effect(db, event) in the transaction that moves the session's position. schema: SQL that makes the effect's tables.
 *  The process ends when a server is away: to be started again; what was not acknowledged comes again. */
export async function follow(queue, schema, effect) {
  const db = new pg.Client(DATABASE_URL);
  await db.connect();
  await db.query(`${POSITIONS};${schema}`);
  const connection = await amqp.connect(AMQP_URL);
  connection.on("close", () => { throw new Error("the broker is gone"); });
  const channel = await connection.createChannel();
  await channel.assertExchange(queue + ".dead", "fanout", { durable: true });
  await channel.assertQueue(queue + ".dead", { durable: true });
  await channel.bindQueue(queue + ".dead", queue + ".dead", "");
  await channel.assertQueue(queue, { durable: true, deadLetterExchange: queue + ".dead" });
  await channel.bindQueue(queue, "session_updates", "session.#");
  await channel.prefetch(100);
  let turn = Promise.resolve(); // one after another, in the queue's order
  await channel.consume(queue, (message) => { turn = turn.then(() => handle(channel, db, effect, message)); });
  console.log("following");
}

async function handle(channel, db, effect, message) {
  if (!message) throw new Error("the queue is gone");
  try {
    const isVersion = message.properties.messageId.split(":").length === 3; // what is none (joined, broadcast, …) has a UUID there
    if (isVersion) await take(db, effect, JSON.parse(message.content));
  } catch (error) {
    if (error instanceof Away) throw error; // to set aside all that comes meanwhile would help nobody
    await db.query("select 1"); // nor when it is the database that is away
    console.log("set aside:", error.message); // to our own dead letters, so that one bad message does not stop the rest
    return channel.nack(message, false, false);
  }
  channel.ack(message); // after the effect: else a crash would lose it
}

/** Acts upon what is missing before the event, then upon the event. */
async function take(db, effect, event) {
  const { sessionId } = event;
  for (let at; (at = await reached(db, sessionId), event.epoch !== at.epoch || event.version > at.version + 1);) {
    const missed = await ask(`${sessionId}/deltas?since=${at.version}&epoch=${at.epoch}&limit=100`);
    if (missed && !missed.complete) { // too long ago, or rebuilt in another epoch: begin again from what it is now
      const session = await ask(sessionId);
      if (session) {
        const { epoch, version, updatedAt: timestamp } = session;
        await act(db, effect, { type: "state_sync", sessionId, epoch, version, timestamp, session });
      }
      break;
    }
    if (!missed?.items.length) break;
    for (const earlier of missed.items) await act(db, effect, earlier);
  }
  await act(db, effect, event);
}

async function reached(db, session) {
  const { rows: [at] } = await db.query(REACHED, [session]);
  return at ? { epoch: Number(at.epoch), version: Number(at.version) } : { epoch: 1, version: 0 }; // of what is new to this service all
}

async function act(db, effect, event) {
  await db.query("begin");
  try {
    const { rowCount } = await db.query(ADVANCE, [event.sessionId, event.epoch, event.version]);
    if (rowCount) await effect(db, event); // else it was told before, to this process or another
    await db.query("commit");
  } catch (error) {
    await db.query("rollback");
    throw error;
  }
}

/** What GET /sessions/{path} answers; null: the session is not there any more. */
async function ask(path) {
  try {
    const headers = { Authorization: `Bearer ${HANDOFF_TOKEN}` };
    const answer = await fetch(`${HANDOFF_URL}/sessions/${path}`, { headers, signal: AbortSignal.timeout(10000) });
    if (!answer.ok && answer.status !== 404) throw new Error(`HTTP ${answer.status}`);
    return answer.ok ? await answer.json() : null;
  } catch (cause) {
    throw new Away(`GET /sessions/${path}: ${cause.message}`, { cause });
  }
}
