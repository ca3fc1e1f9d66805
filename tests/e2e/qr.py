"""QR codes as a phone sees them: read by zbarimg, which has nothing of the library that made them."""

import re
import subprocess
import xml.etree.ElementTree

SVG = "{http://www.w3.org/2000/svg}"
MODULE = 4  # pixels, of the pictures that are painted here


def scan(picture):
    """What a picture (PNG, PGM) says."""
    done = subprocess.run(["zbarimg", "--quiet", "--raw", "-"], input=picture, capture_output=True, timeout=60)
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    return done.stdout.decode().removesuffix("\n")


def paint(rows):
    """Modules, dark where true, as a PGM."""
    lines = [b"".join((b"\0" if dark else b"\xff") * MODULE for dark in row) * MODULE for row in rows]
    return b"P5 %d %d 255\n" % (len(rows[0]) * MODULE, len(rows) * MODULE) + b"".join(lines)


def quiet(rows):
    """The light border that the standard wants is there."""
    edges = rows[:4] + rows[-4:] + [row[:4] + row[-4:] for row in rows]
    return not any(dark for row in edges for dark in row)


def modules_of_svg(text):
    svg = xml.etree.ElementTree.fromstring(text)
    assert svg.tag == f"{SVG}svg"
    left, top, width, height = map(int, svg.get("viewBox").split())
    assert (left, top) == (0, 0) and width == height
    light, dark = svg.findall(f"{SVG}path")
    assert light.get("fill") == "#fff" and light.get("d") == f"M0 0h{width}v{width}h-{width}z"
    rows = [[False] * width for _ in range(height)]
    drawn = 0
    for run in re.finditer(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", dark.get("d")):
        x, y, n, back = map(int, run.groups())
        assert n == back
        rows[y][x:x + n] = [True] * n
        drawn += len(run[0])
    assert drawn == len(dark.get("d")), "there is more than runs of modules"
    return rows


def modules_of_text(text):
    """Light blocks on a dark terminal."""
    lines = text.splitlines()
    light = {" ": (False, False), "\u2580": (True, False), "\u2584": (False, True), "\u2588": (True, True)}
    rows = []
    for line in lines:
        assert len(line) == len(lines[0])
        for half in (0, 1):
            rows.append([not light[c][half] for c in line])
    return rows[:len(rows[0])]  # an odd number of rows: the last half line is none
