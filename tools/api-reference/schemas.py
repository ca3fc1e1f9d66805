"""JSON Schemas as lists of members, references followed. What a list cannot say (conditions) is told in words where it is a rule of
members, and is in the schema's own file, which is linked."""

import json

import markup
from markup import code, escape, inline

DEEPEST = 5  # levels of members; what is below is in the schema's file


class Schemas:
    """Those of a folder, by the references that lead to them."""

    def __init__(self, proto, root):
        self.root = root
        self.files = {f"schemas/{p.name}": json.loads(p.read_text()) for p in sorted((proto / "schemas").glob("*.json"))}

    def resolve(self, schema, file):
        """(the schema that it is, the file that it stands in); a description or default beside the reference goes before its own."""
        while isinstance(schema, dict) and "$ref" in schema:
            name, _, pointer = schema["$ref"].partition("#")
            if name:
                file = name if name.startswith("schemas/") or not file else f"schemas/{name}"
            target = self.files[file] if file else self.root
            for token in filter(None, pointer.split("/")):
                target = target[token]
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**target, **beside} if isinstance(target, dict) else target
        return schema, file

    # ---- one line ----

    def type_of(self, schema, file):
        """What a value may be, in a line of HTML."""
        schema, file = self.resolve(schema, file)
        if schema is True or schema == {}:
            return "any JSON"
        if "const" in schema:
            return code(json.dumps(schema["const"], ensure_ascii=False))
        if "enum" in schema:
            return " | ".join(code(json.dumps(value, ensure_ascii=False)) for value in schema["enum"])
        for word in ("anyOf", "oneOf"):
            if word in schema and "properties" not in schema:
                return " or ".join(self.type_of(part, file) for part in schema[word])
        kind = schema.get("type", "object" if "properties" in schema or "allOf" in schema else "any JSON")
        kind = " or ".join(kind) if isinstance(kind, list) else kind
        if kind == "array":
            return f"array of {self.type_of(schema.get('items', True), file)}{_bounds(schema)}"
        return escape(kind) + _bounds(schema)

    # ---- members ----

    def members(self, schema, file):
        """{name: (schema, file, is it required?)}, of all that a schema is made of."""
        schema, file = self.resolve(schema, file)
        found = {}
        if not isinstance(schema, dict):
            return found
        for part in schema.get("allOf", []):
            if "if" not in part:
                for name, (inner, inner_file, needed) in self.members(part, file).items():
                    self._add(found, name, inner, inner_file, needed)
        for name, inner in schema.get("properties", {}).items():
            self._add(found, name, inner, file, False)
        for name in schema.get("required", []):
            if name in found:
                found[name] = (*found[name][:2], True)
        return found

    @staticmethod
    def _add(found, name, schema, file, needed):
        """Of two that speak of a member the later one is narrower, unless it says nothing of its own."""
        if name in found and schema is True:
            schema, file = found[name][:2]
        found[name] = (schema, file, needed or (name in found and found[name][2]))

    def inner_of(self, schema, file):
        """Where a member's own members are: in it, in its items, or in the one alternative that is an object."""
        schema, file = self.resolve(schema, file)
        if not isinstance(schema, dict):
            return None
        if schema.get("type") == "array" or "items" in schema:
            return self.inner_of(schema.get("items", True), file)
        for word in ("anyOf", "oneOf"):
            if word in schema and "properties" not in schema and "allOf" not in schema:
                found = [inner for inner in (self.inner_of(part, file) for part in schema[word]) if inner]
                return found[0] if len(found) == 1 else None
        return (schema, file) if self.members(schema, file) else None

    def rules(self, schema, file):
        """Of its members together, as sentences of HTML."""
        schema, _ = self.resolve(schema, file)
        if not isinstance(schema, dict):
            return []
        found = [f"{code(name)} only with {', '.join(map(code, others))}." for name, others in schema.get("dependentRequired", {}).items()]
        for word, text in (("oneOf", "Just one of "), ("anyOf", "One at least of ")):
            sets = [part.get("required") for part in schema.get(word, []) if isinstance(part, dict)]
            if sets and all(sets) and "properties" in schema:
                found.append(text + ", ".join(" with ".join(map(code, names)) for names in sets) + ".")
        refused = schema.get("not", {})
        if refused.get("required"):
            consts = {name: inner["const"] for name, inner in refused.get("properties", {}).items()}
            found.append("Not together: " + ", ".join(code(f"{name}: {json.dumps(consts[name])}" if name in consts else name)
                                                      for name in refused["required"]) + ".")
        if schema.get("additionalProperties") is False:
            found.append("Other members are refused.")
        return found

    def has_conditions(self, schema, file):
        schema, _ = self.resolve(schema, file)
        return isinstance(schema, dict) and ("if" in schema or any("if" in part for part in schema.get("allOf", [])))

    # ---- HTML ----

    def html(self, schema, file=""):
        """The whole: its type, its members, its rules, its file."""
        whole, inside = self.resolve(schema, file)
        title = whole.get("description", "") if isinstance(whole, dict) else ""
        parts = [f'<p class="type">{self.type_of(schema, file)}{self._file_link(schema)}</p>', markup.paragraphs(title) if title else ""]
        inner = self.inner_of(whole, inside)
        if inner:
            parts.append(self._list(*inner, 1))
        if self.has_conditions(whole, inside):
            parts.append("<p>Conditions between its members are in the schema.</p>")
        return "".join(parts)

    @staticmethod
    def _file_link(schema):
        name = schema.get("$ref", "") if isinstance(schema, dict) else ""
        return f' · {markup.link("/docs/" + name, escape(name))}' if name.startswith("schemas/") and "#" not in name else ""

    def _list(self, schema, file, level):
        items = [self._item(name, *member, level) for name, member in self.members(schema, file).items()]
        rules = "".join(f"<li>{rule}</li>" for rule in self.rules(schema, file))
        return f'<ul class="members">{"".join(items)}</ul>' + (f'<ul class="rules">{rules}</ul>' if rules else "")

    def _item(self, name, schema, file, needed, level):
        resolved, _ = self.resolve(schema, file)
        about = inline(resolved["description"]) if isinstance(resolved, dict) and "description" in resolved else ""
        mark = ' <span class="required">required</span>' if needed else ""
        default = f', default {code(json.dumps(resolved["default"]))}' if isinstance(resolved, dict) and "default" in resolved else ""
        inner = self.inner_of(schema, file)
        below = ""
        if inner and level < DEEPEST:
            below = f"<details><summary>Members of {code(name)}</summary>{self._list(*inner, level + 1)}</details>"
        return (f'<li>{code(name)} <span class="kind">{self.type_of(schema, file)}{default}</span>{mark}'
                + (f'<span class="about">{about}</span>' if about else "") + below + "</li>")


def _bounds(schema):
    """What narrows a type, as text behind it."""
    low, high = schema.get("minimum"), schema.get("maximum")
    found = []
    if low is not None or high is not None:
        found.append(f"{'' if low is None else low} … {'' if high is None else high}".strip())
    for least, most, what in (("minLength", "maxLength", "characters"), ("minItems", "maxItems", "of them")):
        few, many = schema.get(least), schema.get(most)
        if few is not None or many is not None:
            found.append(f"{few or 0} to {many} {what}" if many is not None else f"{few} or more {what}")
    if "format" in schema:
        found.append(schema["format"])
    if schema.get("uniqueItems"):
        found.append("each once")
    text = f" ({escape(', '.join(found))})" if found else ""
    return text + (f' <span class="pattern">{code(schema["pattern"])}</span>' if "pattern" in schema else "")
