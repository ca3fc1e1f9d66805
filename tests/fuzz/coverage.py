#!/usr/bin/env python3
"""How many lines of the decoders the fuzz targets come to, each over its corpus: a table, and an error where it is too few.

usage: coverage.py <folder of the coverage build> [--missed [<file>...]]
--missed also prints the lines that nothing came to, of these files or of those that have too few.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIST = ROOT / "tests" / "fuzz" / "decoders"
OTHERS = ROOT / "tests" / "fuzz" / "no_decoders"
SOURCES = ["base/*.c", "proto/*.c", "common/*.c", "services/*/*.c", "tools/handoff/*.c", "clients/c/src/*.c"]
LEAST = 95.0  # percent


class Decoder:
    """All of a file, but `without`; or its functions alone."""

    def __init__(self, file, names):
        self.file, self.excepted = file, []
        is_whole = not names or names[0] == "without"
        self.functions, self.without = ([], names[1:]) if is_whole else (names, [])

    def has(self, function):
        return function in self.functions if self.functions else function not in self.without


def read_list(path=LIST):
    decoders = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("- "):
            text, mark, reason = line[2:].partition(" -- ")
            if not mark or not reason.strip() or not decoders:
                raise SystemExit(f"{path}:{number}: an exception is \"- text -- reason\", under its file")
            decoders[-1].excepted.append(text.strip())
            continue
        file, *names = line.split()
        decoders.append(Decoder(file, names))
    return decoders


def read_others(path=OTHERS):
    """The source files that decode nothing, each with its reason: {file: reason}."""
    others, reason, goes_on = {}, "", False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            reason, goes_on = f"{reason} {line}" if goes_on else line, True
            continue
        goes_on = False
        if not reason:
            raise SystemExit(f"{path}:{number}: files stand under a reason")
        for file in line.split():
            if file in others:
                raise SystemExit(f"{path}:{number}: {file} is listed twice")
            others[file] = reason
    return others


def check_all_are_listed(decoders, others, sources=None):
    """What is wrong: a source file on no list, or on both, one that is gone."""
    sources = sources if sources is not None else {str(p.relative_to(ROOT)) for s in SOURCES for p in ROOT.glob(s)}
    read = {d.file for d in decoders}
    return ([f"{f} is neither in decoders nor in no_decoders" for f in sorted(sources - read - set(others))]
            + [f"{f} is in both lists" for f in sorted(read & set(others))]
            + [f"no_decoders: {f} is not there" for f in sorted(set(others) - sources)])


def check_list(decoders):
    """What is wrong with the list: a file that is gone, one that is there twice, an exception that names no line."""
    wrong, seen = [], set()
    for decoder in decoders:
        if decoder.file in seen:
            wrong.append(f"{decoder.file} is listed twice")
        seen.add(decoder.file)
        path = ROOT / decoder.file
        if not path.is_file():
            wrong.append(f"{decoder.file} is not there")
            continue
        lines = path.read_text().splitlines()
        for text in decoder.excepted:
            found = sum(text in line for line in lines)
            if found != 1:
                wrong.append(f"{decoder.file}: {found} lines have \"{text}\" in them")
        for function in decoder.functions + decoder.without:
            if not any(f"{function}(" in line for line in lines):
                wrong.append(f"{decoder.file}: there is no function {function}")
    return wrong


def run_target(target, folder):
    corpus = ROOT / "tests" / "fuzz" / "corpus" / target.name.removeprefix("fuzz_")
    env = {**os.environ, "LLVM_PROFILE_FILE": str(folder / f"{target.name}.profraw")}
    done = subprocess.run([target, "-runs=0", corpus], env=env, cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    return target.name, done.returncode, done.stdout


def measure(build, folder):
    targets = sorted(t for t in build.glob("fuzz_*") if t.is_file() and os.access(t, os.X_OK))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = list(pool.map(lambda t: run_target(t, folder), targets))
    for name, code, out in results:
        if code != 0:
            print(out[-2000:], file=sys.stderr)
            raise SystemExit(f"{name} ended with {code} on its corpus")
    data = folder / "all.profdata"
    subprocess.run(["llvm-profdata", "merge", "-sparse", "-o", data, *folder.glob("*.profraw")], check=True)
    out = subprocess.run(["llvm-cov", "export", "-format=lcov", f"-instr-profile={data}", build / "everything"],
                         check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return len(targets), parse_lcov(out.stdout)


def parse_lcov(text):
    """{file: ({line: times}, [(first line, function)])}"""
    files, lines, functions = {}, {}, []
    for record in text.splitlines():
        if record.startswith("SF:"):
            lines, functions = {}, []
            path = pathlib.Path(record[3:])
            if path.is_relative_to(ROOT):
                files[str(path.relative_to(ROOT))] = (lines, functions)
        elif record.startswith("DA:"):
            number, times = record[3:].split(",")[:2]
            lines[int(number)] = max(int(times), lines.get(int(number), 0))
        elif record.startswith("FN:"):
            number, name = record[3:].split(",", 1)
            functions.append((int(number), name.rpartition(":")[2]))
    return files


def counted(decoder, lines, functions):
    """The lines of it that count, as {line: times}."""
    source = (ROOT / decoder.file).read_text().splitlines()
    starts = sorted(set(functions))
    left = {}
    for number, times in lines.items():
        if any(text in source[number - 1] for text in decoder.excepted):
            continue
        if decoder.functions or decoder.without:
            inside = [name for start, name in starts if start <= number]
            if not decoder.has(inside[-1] if inside else ""):
                continue
        left[number] = times
    return left


def print_missed(decoder, lines):
    source = (ROOT / decoder.file).read_text().splitlines()
    for number, times in sorted(lines.items()):
        if not times:
            print(f"    {decoder.file}:{number}: {source[number - 1]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--missed", nargs="*")
    options = parser.parse_args()
    decoders = read_list()
    wrong = check_list(decoders) + check_all_are_listed(decoders, read_others())
    if wrong:
        raise SystemExit("tests/fuzz: " + "; ".join(wrong))
    with tempfile.TemporaryDirectory() as folder:
        n_targets, files = measure(options.build.resolve(), pathlib.Path(folder))
    too_few, n_reached, n_all = [], 0, 0
    for decoder in decoders:
        lines = counted(decoder, *files.get(decoder.file, ({}, [])))
        reached = sum(times > 0 for times in lines.values())
        percent = 100 * reached / len(lines) if lines else 0.0
        n_reached, n_all = n_reached + reached, n_all + len(lines)
        is_well = percent >= LEAST
        print(f"  {'ok' if is_well else 'FEW':4} {percent:6.1f} %  {reached:4} of {len(lines):4}  {decoder.file}")
        if not is_well:
            too_few.append(decoder.file)
        if options.missed is not None and (decoder.file in options.missed or not (options.missed or is_well)):
            print_missed(decoder, lines)
    print(f"{n_targets} targets, {len(decoders)} files: {n_reached} of {n_all} lines, {100 * n_reached / n_all:.1f} %")
    if too_few:
        raise SystemExit(f"less than {LEAST:.0f} % of {', '.join(too_few)}")


if __name__ == "__main__":
    main()
