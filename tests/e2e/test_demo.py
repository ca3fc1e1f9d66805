"""make demo, and make demo CLOCK=1, on the tests' own suite: what they tell is asserted by themselves."""

import demo
import demo_chess
import demo_device
import pytest

from harness import SECRET, ClusterClient


@pytest.fixture(autouse=True)
def own_ports(suite, monkeypatch):
    monkeypatch.setattr(demo_device, "API", suite.api_url)
    monkeypatch.setattr(demo_device, "WS", suite.ws_url)
    monkeypatch.setattr(demo_chess, "AGREE_WITHIN_MS", 2000)  # on a machine that does much else


def test_a_meditation_goes_from_the_phone_to_the_laptop(suite, capsys):
    client = suite.redis_client()
    if isinstance(client, ClusterClient):  # the demo watches one Redis, as make run has it
        return
    assert demo.demo(SECRET, suite.servers.rabbitmq.url, client) == 0
    told = capsys.readouterr().out
    assert "the laptop has them all, checksums right" in told and "reads the same: progress 100, completed" in told
    for step, _ in demo.BUDGET:
        assert f"\n  {step} " in told


def test_a_game_of_chess_ends_by_the_clock(suite, capsys):
    assert demo_chess.play(SECRET) == 0
    told = capsys.readouterr().out
    assert told.count("sees white's flag fall: black wins; the session is expired") == 2
