"""proto/asyncapi.yaml as two pages: the WebSocket, and what goes over the broker."""

import json

import markup
from markup import code, escape, inline, link, rows, slug

DIRECTIONS = {"client": "client → server", "server": "server → client"}


class Messages:
    def __init__(self, proto, root, schemas, rest):
        self.proto, self.root, self.schemas, self.rest = proto, root, schemas, rest

    def resolve(self, node):
        return self.schemas.resolve(node, "")[0]

    def channels(self, of_socket):
        return {name: channel for name, channel in self.root["channels"].items() if (name == "socket") == of_socket}

    def contents(self, of_socket):
        """As Rest.contents."""
        return [(slug(name), channel["title"], [(self.anchor(name, message), "", message) for message in channel["messages"]])
                for name, channel in self.channels(of_socket).items()]

    @staticmethod
    def anchor(channel, message):
        return f"{slug(channel)}-{slug(message)}"

    # ---- a message ----

    def examples(self, message):
        """Its own; an event that a WebSocket forwards has those of the broker's."""
        own = message.get("examples") or self.root["components"]["messages"].get(message["name"], {}).get("examples", [])
        found = "".join(f'<p>{link("/docs/" + e["payload"]["$ref"], escape(e["payload"]["$ref"]))}</p>'
                        f'{markup.json_block(json.loads((self.proto / e["payload"]["$ref"]).read_text()))}' for e in own)
        return f"<details><summary>Examples</summary>{found}</details>" if found else ""

    def facts(self, message):
        flags = [text for name, text in (("x-versioned", "has a version"), ("x-durable", "durable"), ("x-to-devices", "goes to devices"))
                 if message.get(name)]
        told = [DIRECTIONS[message["x-from"]]] if "x-from" in message else []
        told += [f"routing key {code('session.{sessionId}.' + message['x-kind'])}"] if "x-kind" in message else []
        return " · ".join(told + flags)

    def first_of(self, given):
        """The anchor where a message is told of: some are on two channels."""
        return next(self.anchor(name, message) for name, channel in self.root["channels"].items()
                    for message, other in channel["messages"].items() if other == given)

    def message(self, channel, name, given):
        message = self.resolve(given)
        anchor, first = self.anchor(channel, name), self.first_of(given)
        if first != anchor:
            return (f'<section class="operation" id="{anchor}"><h3>{code(name)}</h3><p>{inline(message["summary"])} '
                    f'{link(f"#{first}", f"As above: {code(name)}")}.</p></section>')
        facts = self.facts(message)
        parts = [f'<section class="operation" id="{anchor}"><h3><a href="#{anchor}">{code(name)}</a></h3>',
                 f"<p>{inline(message['summary'])}</p>", markup.paragraphs(message.get("description", "")),
                 f'<p class="facts">{facts}</p>' if facts else "", "<h4>Body</h4>", self.schemas.html(message["payload"])]
        for member, title in (("headers", "Headers"), ("x-properties", "Properties")):
            if member in message:
                parts += [f"<h4>{title}</h4>", self.schemas.html(message[member])]
        return "".join([*parts, self.examples(message), "</section>"])

    # ---- a channel ----

    def who(self, channel_name):
        """Who sends and takes what."""
        lines = []
        for name, operation in self.root["operations"].items():
            if operation["channel"]["$ref"] != f"#/channels/{channel_name}":
                continue
            messages = ", ".join(link(f"#{self.anchor(channel_name, m['$ref'].rpartition('/')[2])}", code(m["$ref"].rpartition("/")[2]))
                                 for m in operation["messages"])
            answers = ", ".join(code(m["$ref"].rpartition("/")[2]) for m in operation.get("reply", {}).get("messages", []))
            lines.append((code(name), inline(" ".join(operation["summary"].split())), messages, answers))
        return rows(("Operation", "description", "messages", "answers"), lines)

    def socket(self, channel):
        """What is the WebSocket's own."""
        binding = channel["bindings"]["ws"]
        query = self.schemas.html(binding["query"])
        headers = self.schemas.html(binding["headers"])
        refusals = channel["x-refusals"]
        refused = rows(("Status", "code", "when"), [
            (code(s["status"]), " ".join(map(self.rest.error, s["codes"])), inline(s["when"]))
            for s in refusals["statuses"]])
        closed = rows(("Code", "come back?", "when"), [(code(c["code"]), escape(c["comeBack"]), inline(c["when"])) for c in channel["x-close-codes"]])
        return (f"<h3>Query</h3>{query}<h3>Headers</h3>{headers}<h3>Refusals</h3><p>{inline(refusals['description'])}</p>{refused}"
                f"<h3>Close codes</h3>{closed}<p>Others: {escape(channel['x-other-close-codes'])}. {link('/docs/errors/close-codes', 'Causes and cures')}.</p>"
                f"<h3>Limits</h3>{self.rest.limits(channel['x-limits'])}")

    def broker(self, channel):
        binding = channel["bindings"]["amqp"]
        named = binding.get("exchange") or binding.get("queue")
        return f"<p>{'Exchange' if 'exchange' in binding else 'Queue'} {code(named['name'] or '(default)')}.</p>" + self.cloudevents(channel)

    def cloudevents(self, channel):
        told = channel.get("x-cloudevents")
        return f"<h3>As CloudEvents</h3>{markup.paragraphs(told['description'])}{self.schemas.html(told['headers'])}" if told else ""

    def channel(self, name, channel):
        address = f"<p>Address {code(channel['address'])}.</p>" if channel["address"] else ""
        own = self.socket(channel) if name == "socket" else self.broker(channel)
        messages = "".join(self.message(name, message, given) for message, given in channel["messages"].items())
        return (f'<section class="group" id="{slug(name)}"><h2>{escape(channel["title"])}</h2>{markup.paragraphs(channel.get("description", ""))}'
                f"{address}{own}<h3>Who</h3>{self.who(name)}{messages}</section>")

    def page(self, title, of_socket):
        about = markup.paragraphs(self.root["info"]["description"])
        return f"<h1>{title}</h1>{about}" + "".join(self.channel(name, channel) for name, channel in self.channels(of_socket).items())
