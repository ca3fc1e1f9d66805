"""What a watcher must not miss between two steps of its subscription: a relay before the broker holds ws_fanout at
just that step (contract section 4). Broken on purpose by tests/mutants."""

from engine import Relay
from rest import accepted
from ws import ask, set_to


def test_a_change_before_the_binding_is_confirmed_is_seen(suite, phone, own_fanout):
    """The state that a watcher gets is read behind the binding: what changes before is in it."""
    servers = suite.servers
    relay = Relay(servers.rabbitmq.port)
    url = servers.rabbitmq.url.replace(f":{servers.rabbitmq.port}/", f":{relay.port}/")
    fanout = own_fanout(HANDOFF_AMQP_URL=url, HANDOFF_FANOUT_BINDING="session")
    session_id = phone.create({"n": 1})["id"]
    try:
        with fanout.device(phone.user, "laptop").connect() as socket:
            socket.expect("hello")
            relay.hold("")  # all that it sends
            socket.send(type="subscribe", sessionId=session_id)
            # Whatever it can read now it has read.
            assert ask(socket, "ping")["type"] == "pong"
            assert ask(socket, "ping")["type"] == "pong"
            accepted(phone.json_patch(session_id, set_to("n", 2)), version=2)
            relay.release()
            frame = socket.recv_until("state_sync")
            assert frame["version"] == 2 or socket.recv_until("state_delta")["version"] == 2
    finally:
        relay.close()
