"""Another backend service, as an independent client of the exchange."""

import json
import threading

from harness import wait_until


class Backend:
    """Bound to session.#; notes (properties, routing key, event)."""

    def __init__(self, suite):
        self.seen, self.bound, self.stopping = [], threading.Event(), False
        self.thread = threading.Thread(target=self._run, args=(suite,))
        self.thread.start()
        assert self.bound.wait(20)

    def _run(self, suite):
        connection = suite.amqp()
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "session_updates", "session.#")
        self.bound.set()
        for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=0.05):
            if self.stopping:
                break
            if method:
                self.seen.append((properties, method.routing_key, json.loads(body)))
        connection.close()

    def events(self, session_id):
        """[(message id, event)] of the session's versioned events, as they came."""
        return [(p.message_id, e) for p, key, e in self.seen if e["sessionId"] == session_id
                and key.rpartition(".")[2] in ("created", "update", "status", "deleted")]

    def messages(self, session, *types):
        return [m for m in list(self.seen) if m[2]["sessionId"] == session["id"] and m[2]["type"] in types]

    def wait(self, session, n, *types):
        wait_until(lambda: len(self.messages(session, *types)) >= n, what=f"{n} of {types} at the backend")
        return self.messages(session, *types)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
