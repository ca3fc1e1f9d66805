"""proto/openapi.yaml, proto/asyncapi.yaml and proto/schemas, read for tests: references are followed, and
messages and HTTP answers are held against what the documents say of them."""

import json
import pathlib
import re

import jsonschema
import yaml

PROTO = pathlib.Path(__file__).resolve().parents[1] / "proto"
SCHEMAS = {p.name: json.loads(p.read_text()) for p in sorted((PROTO / "schemas").glob("*.json"))}
BASE = "http://documents.invalid/"  # absolute, and never asked: jsonschema joins relative ones twice
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SEGMENTS = {"id": UUID, "userId": UUID, "version": r"[1-9]\d{0,15}",
            "deviceId": r"(?!\.{1,2}$)([A-Za-z0-9._:-]|%3[Aa]){1,128}"}
SEGMENTS["participantId"] = SEGMENTS["deviceId"]
SEGMENTS["code"] = r"[A-Za-z0-9_-]{22}"
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


class Loader(yaml.SafeLoader):
    """Refuses what YAML lets pass: a key that is there twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice in one mapping: {keys} at {node.start_mark}"
        return super().construct_mapping(node, deep)


def walk(value, path=()):
    """Every object of a document with its path."""
    if isinstance(value, dict):
        yield path, value
        for name, member in value.items():
            yield from walk(member, path + (name,))
    elif isinstance(value, list):
        for i, element in enumerate(value):
            yield from walk(element, path + (i,))


class Document:
    def __init__(self, name):
        self.root = yaml.load((PROTO / name).read_text(), Loader)

    def resolve(self, node):
        """What a node is, when it is a reference."""
        while isinstance(node, dict) and "$ref" in node:
            node = self.target(node["$ref"])
        return node

    def target(self, reference):
        file, _, pointer = reference.partition("#")
        value = json.loads((PROTO / file).read_text()) if file else self.root
        for token in filter(None, pointer.split("/")):
            token = token.replace("~1", "/").replace("~0", "~")
            value = value[int(token) if isinstance(value, list) else token]
        return value

    def references(self):
        return [node["$ref"] for _, node in walk(self.root) if isinstance(node.get("$ref"), str)]

    def files(self):
        """The files that it names, schemas and examples, also by way of other schemas."""
        names = {r.partition("#")[0] for r in self.references()}
        names |= {n["externalValue"] for _, n in walk(self.root) if "externalValue" in n}
        names.discard("")
        waiting = [n for n in names if n.startswith("schemas/")]
        while waiting:
            for _, node in walk(SCHEMAS[waiting.pop().removeprefix("schemas/")]):
                found = "schemas/" + str(node.get("$ref", "")).partition("#")[0]
                if found != "schemas/" and found not in names:
                    names.add(found)
                    waiting.append(found)
        return names

    def validator(self, schema):
        """Of a schema within the document; its references lead into the document or to schemas/."""
        store = {f"{BASE}schemas/{name}": content for name, content in SCHEMAS.items()}
        resolver = jsonschema.RefResolver(BASE + "document", self.root, store=store)
        return jsonschema.Draft202012Validator(schema, resolver=resolver)

    def errors(self, schema, value):
        """What does not fit, as text; "" when all does."""
        found = sorted(self.validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path)))
        return "; ".join(f"{'/'.join(map(str, e.path))}: {e.message[:300]}" for e in found)


class OpenApi(Document):
    def __init__(self):
        super().__init__("openapi.yaml")
        self.seen = set()  # (path, method, status) of the answers checked
        # session_api's; what has servers of its own is another service's
        self.rest = {p: i for p, i in self.root["paths"].items() if "servers" not in i}

    def path_of(self, url_path):
        for template in self.root["paths"]:
            if re.fullmatch(re.sub(r"\{(\w+)\}", lambda m: SEGMENTS[m[1]], template), url_path):
                return template
        return None

    def response(self, template, method, status):
        """What the document has for this answer."""
        if template is None:
            assert status in (400, 404, 431), f"{status} for a path that does not exist"
            return self.resolve(self.root["x-other-paths"])
        item = self.root["paths"][template]
        if method not in item:
            assert status == 405, f"{status} for a method that {template} has not"
            return self.resolve(item["x-other-methods"])
        responses = item[method]["responses"]
        if status == 429 and "429" not in responses:
            return self.resolve(self.root["x-limited"])
        assert str(status) in responses, f"{method} {template}: {status} is not in the document"
        return self.resolve(responses[str(status)])

    def check_headers(self, response, headers):
        for name, header in response.get("headers", {}).items():
            header = self.resolve(header)
            value = headers.get(name)
            if value is None:
                assert not header.get("required"), f"no {name}"
            else:
                assert not self.errors(header["schema"], value), f"{name}: {value}"

    def check(self, method, url_path, status, headers, body):
        """headers: a mapping that ignores case. body: bytes; of HEAD none."""
        template, method = self.path_of(url_path), method.lower()
        response = self.response(template, method, status)
        self.seen.add((template, method, status))
        self.check_headers(response, headers)
        content = response.get("content")
        if not content or method == "head":
            assert not body or not response.get("headers"), f"a body: {body[:100]}"
            return
        media_type = headers["Content-Type"].partition(";")[0]
        assert media_type in content, f"{media_type} for {method} {template} {status}"
        value = json.loads(body) if media_type.endswith("json") else body.decode("latin-1")
        wrong = self.errors(content[media_type]["schema"], value)
        assert not wrong, f"{method} {template} {status}: {wrong}\n{body[:1000]}"

    def check_answer(self, answer, *_, **__):
        """For a requests.Session's hooks."""
        path = answer.request.path_url.partition("?")[0]
        self.check(answer.request.method, path, answer.status_code, answer.headers, answer.content)


class AsyncApi(Document):
    def __init__(self):
        super().__init__("asyncapi.yaml")
        self.seen = set()  # (channel, message) of what was checked

    def message(self, channel, name):
        messages = self.root["channels"][channel]["messages"]
        assert name in messages, f"{name} is not in the document's channel {channel}"
        self.seen.add((channel, name))
        return self.resolve(messages[name])

    def check_payload(self, channel, name, payload):
        wrong = self.errors(self.message(channel, name)["payload"], payload)
        assert not wrong, f"{channel} {name}: {wrong}\n{json.dumps(payload)[:1000]}"

    def check_frame(self, payload):
        """A frame of the WebSocket: what is no message of its own is an event."""
        self.check_payload("socket", payload["type"], payload)

    def check_amqp(self, channel, name, properties, payload):
        """A message with what pika tells of its properties."""
        message = self.message(channel, name)
        self.check_payload(channel, name, payload)
        wrong = self.errors(message.get("headers", {}), properties.headers or {})
        assert not wrong, f"{name}'s headers: {wrong}"
        given = {k: v for k, v in vars(properties).items() if v is not None and k != "headers"}
        wrong = self.errors(message["x-properties"], given)
        assert not wrong, f"{name}'s properties: {wrong}"
