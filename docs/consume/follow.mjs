// Counts what happens to sessions, by day: each change once, in order, none missing.
import { follow } from "./sessions.mjs";

const TABLE = "create table if not exists changes (day text, type text, n int, primary key (day, type))";
const COUNT = "insert into changes values ($1, $2, 1) on conflict (day, type) do update set n = changes.n + 1";

/** The effect: committed with the session's position, or neither is. */
async function count(db, event) {
  await db.query(COUNT, [event.timestamp.slice(0, 10), event.type]);
  console.log(event.sessionId, event.epoch, event.version, event.type);
}

await follow("consumer.follow", TABLE, count);
