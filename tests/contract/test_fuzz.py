"""What the fuzz targets are measured by: the list of decoders names what is there, and each target has a corpus."""
import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
FUZZ = ROOT / "tests" / "fuzz"


def coverage():
    spec = importlib.util.spec_from_file_location("fuzz_coverage", FUZZ / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_list_of_decoders_names_what_is_there():
    module = coverage()
    decoders = module.read_list()
    assert len(decoders) >= 140
    assert module.check_list(decoders) == []


def test_list_that_names_what_is_gone_is_refused(tmp_path):
    module = coverage()
    wrong = tmp_path / "decoders"
    wrong.write_text("base/gone.c\nproto/text.c no_such_function\n- no such line -- a reason\n")
    assert len(module.check_list(module.read_list(wrong))) == 3


def test_each_source_file_is_a_decoder_or_named_with_the_reason_why_it_is_none():
    module = coverage()
    others = module.read_others()
    assert module.check_all_are_listed(module.read_list(), others) == []
    assert all(len(reason) > 20 for reason in others.values())


def test_source_file_on_no_list_or_on_both_is_refused():
    module = coverage()
    decoders, others = module.read_list(), module.read_others()
    sources = {d.file for d in decoders} | set(others)
    assert module.check_all_are_listed(decoders, others, sources) == []
    assert len(module.check_all_are_listed(decoders, others, sources | {"proto/new.c"})) == 1
    assert len(module.check_all_are_listed(decoders, {**others, "proto/text.c": "why"}, sources)) == 1
    assert len(module.check_all_are_listed(decoders, {**others, "base/gone.c": "why"}, sources)) == 1


def test_each_target_has_a_corpus():
    targets = {p.stem.removeprefix("fuzz_") for p in FUZZ.glob("fuzz_*.c")}
    assert len(targets) >= 60
    corpora = {p.name for p in (FUZZ / "corpus").iterdir() if any(p.iterdir())}
    assert corpora == targets
