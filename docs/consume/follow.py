"""Counts what happens to sessions, by day: each change once, in order, none missing."""
import sessions

TABLE = "create table if not exists changes (day text, type text, n int, primary key (day, type))"
COUNT = "insert into changes values (%s, %s, 1) on conflict (day, type) do update set n = changes.n + 1"


def count(cursor, event):
    """The effect: committed with the session's position, or neither is."""
    cursor.execute(COUNT, [event["timestamp"][:10], event["type"]])
    print(event["sessionId"], event["epoch"], event["version"], event["type"], flush=True)


sessions.follow("consumer.follow", TABLE, count)
