"""proto/openapi.yaml as a page: each path with its operations."""

import json

import markup
from markup import code, escape, inline, link, rows, slug

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
TELLS_LITTLE = ("head", "options")  # shown closed: what they do is what their neighbour does
USUAL_HEADERS = {"X-Request-Id", "X-API-Version", "Cache-Control", "Vary", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"}


class Rest:
    def __init__(self, proto, root, schemas):
        self.proto, self.root, self.schemas = proto, root, schemas

    def resolve(self, node):
        return self.schemas.resolve(node, "")[0]

    def contents(self):
        """[(anchor, text, [(anchor, method, summary), …]), …]"""
        return [(slug(path), path, [(self.anchor(path, method), method.upper(), item[method]["summary"])
                                    for method in METHODS if method in item and method not in TELLS_LITTLE])
                for path, item in self.root["paths"].items()]

    @staticmethod
    def anchor(path, method):
        return f"{method}-{slug(path)}"

    # ---- parts of an operation ----

    def parameters(self, given):
        lines = []
        for parameter in map(self.resolve, given):
            need = ' <span class="required">required</span>' if parameter.get("required") else ""
            schema = self.resolve(parameter["schema"])
            default = f", default {code(json.dumps(schema['default']))}" if "default" in schema else ""
            example = f"<br>For example {code(parameter['example'])}" if "example" in parameter else ""
            about = inline(parameter.get("description") or schema.get("description", ""))
            lines.append((code(parameter["name"]) + need, escape(parameter["in"]),
                          self.schemas.type_of(parameter["schema"], "") + default, about + example))
        return rows(("Parameter", "in", "is", "description"), lines)

    def example(self, given):
        """Its name, and what it is."""
        name = given["externalValue"]
        return f'<p>{link("/docs/" + name, escape(name))}</p>{markup.json_block(json.loads((self.proto / name).read_text()))}'

    def media(self, content):
        parts = []
        for name, media in content.items():
            examples = "".join(map(self.example, media.get("examples", {}).values()))
            shown = f"<details><summary>Examples</summary>{examples}</details>" if examples else ""
            parts.append(f'<div class="media"><p>{code(name)}</p>{self.schemas.html(media["schema"])}{shown}</div>')
        return "".join(parts)

    @staticmethod
    def error(name):
        return link(f"/docs/errors/{name}", code(name))

    def codes(self, response):
        """Those that its problem may have."""
        schema = self.resolve(response.get("content", {}).get("application/problem+json", {}).get("schema", {}))
        for part in schema.get("allOf", []):
            if "properties" in part:
                return part["properties"]["code"]["enum"]
        return []

    def headers(self, response):
        own = {name: self.resolve(header) for name, header in response.get("headers", {}).items() if name not in USUAL_HEADERS}
        return "".join(f'<li>Header {code(name)} {inline(header.get("description", ""))}</li>' for name, header in own.items())

    def response(self, status, given):
        response = self.resolve(given)
        codes = self.codes(response)
        content = response.get("content", {})
        parts = [f'<p>{inline(response["description"])}</p>']
        if codes:
            parts.append('<p class="codes">' + " ".join(map(self.error, codes)) + "</p>")
        headers = self.headers(response)
        parts.append(f"<ul>{headers}</ul>" if headers else "")
        if content and not codes:
            parts.append(self.media(content))
        return code(status), "".join(parts)

    def body(self, operation):
        body = operation.get("requestBody")
        if not body:
            return ""
        need = "" if body.get("required") else " It may be left out."
        return f"<h4>Body</h4>{f'<p>{need.strip()}</p>' if need else ''}{self.media(body['content'])}"

    def operation(self, path, item, method):
        operation, anchor = item[method], self.anchor(path, method)
        title = f'<span class="method {method}">{method.upper()}</span> <span class="path">{escape(path)}</span>'
        if method in TELLS_LITTLE:
            statuses = ", ".join(map(code, operation["responses"]))
            return (f'<section class="operation" id="{anchor}"><h3>{title}</h3>'
                    f"<p>{inline(operation['summary'])}. Answers: {statuses}.</p></section>")
        token = operation.get("security", self.root["security"]) != []
        given = item.get("parameters", []) + operation.get("parameters", [])
        parameters = self.parameters(given)
        inside = (
            f'<p class="summary">{inline(operation["summary"])}.{"" if token else " Needs no token."}</p>'
            + markup.paragraphs(operation.get("description", ""))
            + (f"<h4>Parameters</h4>{parameters}" if parameters else "")
            + self.body(operation)
            + "<h4>Answers</h4>"
            + rows(("Status", "description"), [self.response(status, response) for status, response in operation["responses"].items()]))
        return f'<section class="operation" id="{anchor}"><h3><a href="#{anchor}">{title}</a></h3>{inside}</section>'

    def path(self, path, item):
        servers = item.get("servers")
        at = f"<p>Served at {', '.join(code(server['url']) for server in servers)} ({escape(servers[0]['description'])}).</p>" if servers else ""
        operations = "".join(self.operation(path, item, method) for method in METHODS if method in item)
        return f'<section class="group" id="{slug(path)}"><h2>{code(path)}</h2>{at}{operations}</section>'

    # ---- the page ----

    def limits(self, limits):
        return rows(("Limit", "by default", "setting"),
                    [(inline(limit["what"]), escape(limit["value"]), code(limit["setting"]) if "setting" in limit else "") for limit in limits])

    def usual(self):
        headers = self.root["components"]["headers"]
        return rows(("Header", "description"), [(code(name), inline(headers[name].get("description", ""))) for name in sorted(USUAL_HEADERS)])

    def page(self):
        servers = rows(("Server", "description"), [(code(s["url"]), escape(s["description"])) for s in self.root["servers"]])
        paths = "".join(self.path(path, item) for path, item in self.root["paths"].items())
        problem = self.schemas.html({"$ref": "schemas/problem.json"})
        examples = "".join(self.example({"externalValue": f"examples/{p.name}"}) for p in sorted((self.proto / "examples").glob("problem.*.json")))
        return (f'<h1>REST</h1>{markup.paragraphs(self.root["info"]["description"])}{servers}{paths}'
                f'<section class="group" id="problem"><h2>Refusals</h2><p>Each is such an object; its codes are {link("/docs/errors", "pages of their own")}. '
                f"A path that is not here: 404 {self.error('not_found')}; another method on one that is: 405 {self.error('method_not_allowed')}.</p>"
                f"{problem}<details><summary>Examples</summary>{examples}</details></section>"
                f'<section class="group" id="headers"><h2>Headers of every answer</h2>{self.usual()}</section>'
                f'<section class="group" id="limits"><h2>Limits</h2>{self.limits(self.root["x-limits"])}</section>')
