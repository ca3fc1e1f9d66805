// Follows every session: each change once, in order, none missing. npm install amqplib
import amqp from "amqplib";

const { AMQP_URL, HANDOFF_URL, HANDOFF_TOKEN, QUEUE = "consumer.follow" } = process.env;
const seen = new Map(); // session -> {epoch, version}; keep it where the effect is kept, or the effect may come twice

const isAfter = (a, b) => a.epoch > b.epoch || (a.epoch === b.epoch && a.version > b.version);

function act(event) { // what this service is for
  console.log(event.sessionId, event.epoch, event.version, event.type);
  seen.set(event.sessionId, { epoch: event.epoch, version: event.version });
}

async function missed(session, { epoch, version }) {
  const url = `${HANDOFF_URL}/sessions/${session}/deltas?since=${version}&epoch=${epoch}&limit=100`;
  const { complete, items } = await (await fetch(url, { headers: { Authorization: `Bearer ${HANDOFF_TOKEN}` } })).json();
  if (!complete) throw new Error("too long ago: GET the session and begin again from there");
  return items;
}

async function take(message) {
  const event = JSON.parse(message.content);
  if (message.properties.messageId.split(":").length !== 3) return; // no version: joined, broadcast, …
  for (let at; (at = seen.get(event.sessionId)) && isAfter(event, { ...at, version: at.version + 1 });) {
    const earlier = (await missed(event.sessionId, at)).filter((e) => isAfter(event, e));
    if (!earlier.length) break;
    earlier.forEach(act);
  }
  const at = seen.get(event.sessionId);
  if (!at || isAfter(event, at)) act(event); // else it was told again
}

const channel = await (await amqp.connect(AMQP_URL)).createChannel();
await channel.assertExchange(QUEUE + ".dead", "fanout", { durable: true });
await channel.assertQueue(QUEUE + ".dead", { durable: true });
await channel.bindQueue(QUEUE + ".dead", QUEUE + ".dead", "");
await channel.assertQueue(QUEUE, { durable: true, deadLetterExchange: QUEUE + ".dead" });
await channel.bindQueue(QUEUE, "session_updates", "session.#");
await channel.prefetch(100);
let turn = Promise.resolve(); // one after another, in the queue's order
await channel.consume(QUEUE, (message) => {
  turn = turn.then(() => take(message)).then(
    () => channel.ack(message), // after the effect: else a crash would lose it
    (error) => { console.log("set aside:", error.message); channel.nack(message, false, false); });
});
console.log("following");
