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
    assert len(decoders) >= 70
    assert module.check_list(decoders) == []


def test_list_that_names_what_is_gone_is_refused(tmp_path):
    module = coverage()
    wrong = tmp_path / "decoders"
    wrong.write_text("base/gone.c\nproto/text.c no_such_function\n- no such line -- a reason\n")
    assert len(module.check_list(module.read_list(wrong))) == 3


def test_each_target_has_a_corpus():
    targets = {p.stem.removeprefix("fuzz_") for p in FUZZ.glob("fuzz_*.c")}
    assert len(targets) >= 30
    corpora = {p.name for p in (FUZZ / "corpus").iterdir() if any(p.iterdir())}
    assert corpora == targets
