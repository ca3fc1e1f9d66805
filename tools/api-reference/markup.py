"""HTML of plain values and of the Markdown that the documents use. All text is escaped here and nowhere else."""

import html
import json
import re


def escape(text):
    return html.escape(str(text), quote=True)


def code(text):
    return f"<code>{escape(text)}</code>"


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def link(target, text):
    return f'<a href="{escape(target)}">{text}</a>'


def json_block(value):
    return f'<pre class="json">{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>'


def rows(head, lines):
    """A table; the cells are HTML. None without lines: ""."""
    if not lines:
        return ""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def inline(text, target_of=None):
    """`code`, **bold**, *emphasis* and [links](…). target_of(target) -> where a link leads, None: it stays text; without it all stay text."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(code(part[1:-1]) if part.startswith("`") and len(part) > 2 else _plain(part, target_of) for part in parts)


def _plain(text, target_of):
    def linked(match):
        target = target_of(match[2]) if target_of else None
        return link(target, match[1]) if target else match[1]

    text = escape(text)
    text = re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", linked, text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"(?<!\*)\*([^*\s][^*]*)\*(?!\*)", r"<em>\1</em>", text)


def paragraphs(text):
    return "".join(f"<p>{inline(' '.join(part.split()))}</p>" for part in re.split(r"\n\s*\n", text.strip()) if part)


def _table(lines, target_of):
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    return rows(cells[0], [[_with_code_links(cell, target_of) for cell in line] for line in cells[2:]])


def _with_code_links(text, target_of):
    """A link whose text is code: [`x`](y)."""
    match = re.fullmatch(r"\[`([^`]+)`\]\(([^)\s]+)\)", text)
    target = match and target_of and target_of(match[2])
    return link(target, code(match[1])) if target else inline(text, target_of)


def _list(tag, items, target_of):
    return f"<{tag}>" + "".join(f"<li>{inline(' '.join(item.split()), target_of)}</li>" for item in items) + f"</{tag}>"


def page(text, target_of=None):
    """A page of Markdown: headings, paragraphs, lists of one level, tables, code without empty lines. What else there is stops the build."""
    parts = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.split("\n")
        heading = re.fullmatch(r"(#{1,3}) (.+)", block)
        if heading:
            parts.append(f"<h{len(heading[1])}>{inline(heading[2])}</h{len(heading[1])}>")
        elif lines[0].startswith("- "):
            parts.append(_list("ul", re.split(r"\n- ", block.removeprefix("- ")), target_of))
        elif lines[0].startswith("1. "):
            parts.append(_list("ol", re.split(r"\n\d+\. ", block.removeprefix("1. ")), target_of))
        elif re.match(r"```[a-z ]+\n", block) and block.endswith("\n```"):
            parts.append(f"<pre>{escape(chr(10).join(lines[1:-1]))}</pre>")
        elif lines[0].startswith("|"):
            parts.append(_table(lines, target_of))
        elif re.match(r"#|```|    |\d+\. |> ", block):
            raise ValueError(f"no rule for this Markdown: {block[:80]!r}")
        else:
            parts.append(f"<p>{inline(' '.join(block.split()), target_of)}</p>")
    return "\n".join(parts)
