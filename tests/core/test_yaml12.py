"""A job file says what it means: YAML 1.2, keys as they are written, and nothing twice."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxspark.config.job_config import JobConfig
from mxspark.config.overrides import override
from mxspark.config.yaml12 import NotAJobFile, load, plain, written
from mxspark.errors import ConfigError
from mxspark.launch.job_keys import num_workers

BASE = 'data: {path: a, features: {x: {}}, label: {y: {}}}\ntraining: {network: "a:b", loss: l2}\n'

# what stands in the file, the value where any is taken, the text where one is wanted
TEXTS = [
    ("no", "no", "no"), ("off", "off", "off"), ("yes", "yes", "yes"), ("on", "on", "on"), ("y", "y", "y"),
    ("No", "No", "No"), ("OFF", "OFF", "OFF"), ("true", True, True), ("False", False, False),
    ("~", None, None), ("null", None, None), ("", None, None), ("NULL", None, None), ("nULL", "nULL", "nULL"),
    ("010", 10, "010"), ("0", 0, "0"), ("-7", -7, "-7"), ("+7", 7, "+7"), ("007", 7, "007"), ("08", 8, "08"),
    ("0o10", 8, "0o10"), ("0x1F", 31, "0x1F"), ("0b11", "0b11", "0b11"), ("1_000", "1_000", "1_000"),
    ("1e-3", 0.001, "1e-3"), ("1E3", 1000.0, "1E3"), ("1.0e3", 1000.0, "1.0e3"), ("1.10", 1.1, "1.10"),
    (".5", 0.5, ".5"), ("5.", 5.0, "5."), ("1.5", 1.5, "1.5"), ("-.inf", -math.inf, "-.inf"),
    ("1:30", "1:30", "1:30"), ("12:30:45", "12:30:45", "12:30:45"), ("190:20:30.15", "190:20:30.15", "190:20:30.15"),
    ("2020-01-01", "2020-01-01", "2020-01-01"), ("2001-12-14t21:59:43.10-05:00",) * 3,
    ("=", "=", "="), ("<<", "<<", "<<"), ("1/255", "1/255", "1/255"), ("e3", "e3", "e3"),
    ("'no'", "no", "no"), ('"010"', "010", "010"), ("'~'", "~", "~"), ("!!str 010", "010", "010"),
    ("größe", "größe", "größe"),
    ("1234567890123456789012", 1234567890123456789012, "1234567890123456789012"), ("9" * 5000,) * 3,
]  # fmt: skip


@pytest.mark.parametrize(("text", "value", "name"), TEXTS, ids=[text[:30] for text, *_ in TEXTS])
def test_every_text_is_what_it_is_in_yaml_1_2(text: str, value: Any, name: Any) -> None:
    for found in (load(text), load(f"[{text}]")[0] if text else None, load(f"a: {text}")["a"]):
        assert plain(found) == value and type(plain(found)) is type(value)
        assert written(found) == name


@given(st.text(alphabet="0123456789eE.+-_:xo~nulfasetryNOY ", max_size=8))
def test_a_text_without_quotes_is_its_number_its_word_or_itself(text: str) -> None:
    try:
        value = load(f"a: {text}")["a"]
    except NotAJobFile:
        return
    text = text.strip()
    if isinstance(value, str):
        assert value == text
        return
    if value is None or isinstance(value, bool):
        assert text.lower() in ("~", "null", "", "true", "false")
        return
    assert written(value) == text
    if "x" in text or "o" in text:
        assert plain(value) == int(text, 0)
    else:
        assert plain(value) == float(text)


LETTERS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | LETTERS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LETTERS, inner, max_size=3),
        max_leaves=10,
    )
)
def test_json_is_read_as_what_it_is(value: Any) -> None:
    assert plain(load(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "a: is there twice, on line 1 and on line 3; remove one of them"),
        ("a: 1\n'a': 3", "a: is there twice, on line 1 and on line 2"),
        ("t:\n  o: {n: 1, l: 2, n: 3}", "t.o.n: is there twice, on line 2 and on line 2"),
        ("f:\n- {x: 1}\n- {x: 1,\n   x: 2}", r"f\[1\].x: is there twice, on line 3 and on line 4"),
        ("no: 1\nno: 2", "no: is there twice"),
        ("010: 1\n10: 2\n010: 3", "010: is there twice, on line 1 and on line 3"),
        ("a: &k {p: 1, p: 2}\nb: *k", "a.p: is there twice"),
        ("? [a, b]\n: 1", "line 1 has a key that is no text"),
        ("a: 1\n---\na: 2", "single document.*; a file holds one job"),
        ("a:\n\tb: 1", "indent with spaces, not with tabs"),
        ("a: &a [*a]", r"a\[0\]: holds itself, through an anchor on line 1"),
        ("a: *nowhere", "undefined alias"),
        ("a: !!python/object/apply:os.getpid []", "a: the tag .* on line 1 is not read; drop it"),
        ("a: !mine 3", "a: the tag !mine on line 1 is not read"),
        ("a: !!binary aGk=", "a: the tag .*binary"),
        ("a: !!set {b}", "a: the tag .*set"),
        ("a:\n  <<: [1]", "a.<<: line 2 merges what is no mapping"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_said_twice_or_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(NotAJobFile, match=message):
        load(text)


def test_every_key_that_is_there_twice_is_told() -> None:
    with pytest.raises(NotAJobFile) as caught:
        load("a: {x: 1, x: 2}\nb: 1\nb: 2\nc: !x 1")
    assert len(caught.value.problems) == 3


def test_anchors_and_merge_keys_are_what_yaml_says() -> None:
    job = load("base: &b {a: 1, c: [1]}\none: {<<: *b, a: 2}\ntwo: {a: 3, <<: [*b, {d: 4, a: 5}]}\nthree: *b")
    assert job["one"] == {"a": 2, "c": [1]}
    assert job["two"] == {"a": 3, "c": [1], "d": 4}
    assert job["three"] == {"a": 1, "c": [1]}
    many = "a: &a [1]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)
    )
    assert load(many)["a"] == [1], "a file of aliases of aliases costs no more than it is long"


def job(text: str, *sets: str, tmp_path: Path) -> JobConfig:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return JobConfig.from_yaml(str(path), sets)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# Schlüssel\n".encode("latin-1") + BASE.encode(), "it is not UTF-8: byte 0xfc on line 1; .*iconv -f latin1"),
        (BASE.encode("utf-16"), "it is UTF-16 and has to be UTF-8"),
        (BASE.encode("utf-16-le"), "it is UTF-16 and has to be UTF-8"),
        (BASE.encode("utf-32"), "it is UTF-16 and has to be UTF-8"),
        (b"", "holds nothing, but a job is sections"),
        (b"a: \x07", "it is not YAML"),
    ],
)
def test_files_in_another_encoding_are_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        JobConfig.from_yaml(str(path))


def test_a_mark_of_an_editor_before_the_text_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.replace("x:", "größe:").encode())
    assert JobConfig.from_yaml(str(path)).features()[0].name == "größe"


def test_names_are_texts_wherever_one_stands(tmp_path: Path) -> None:
    names = ["no", "010", "1.10", "7", "1e3", "off", "2020-01-01"]
    for features in (f"[{', '.join(names)}]", "{" + ", ".join(f"{name}: {{}}" for name in names) + "}"):
        text = BASE.replace("features: {x: {}}", f"features: {features}")
        assert [spec.name for spec in job(text, tmp_path=tmp_path).features()] == names
    text = BASE.replace("x: {}", "x: {columns: [0, 01, no]}").replace("label: {y: {}}", "label: 007")
    read = job(text, "job.name=010", "job.dir=2020", "job.id=0010", tmp_path=tmp_path)
    assert read.features()[0].columns == ("0", "01", "no") and read.labels()[0].name == "007"
    assert (read.job.name, read.job.dir, read.job.id) == ("010", "2020", "0010")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("[true]", "data.features: found True in a list of columns; put a column of that name into quotes"),
        ("[null]", "data.features: found None in a list of columns"),
        ("[{a: {}}]", "data.features: found .* in a list of columns"),
        ("[a, b, a]", "data.features: column a is there twice; remove one of them"),
    ],
)
def test_what_is_no_name_is_refused(tmp_path: Path, features: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        job(BASE.replace("features: {x: {}}", f"features: {features}"), tmp_path=tmp_path)


def test_options_and_environment_take_numbers_and_options_booleans(tmp_path: Path) -> None:
    options = "path: a, options: {header: true, inferSchema: False, maxColumns: 20000, nullValue: 010, sep: 1.10}"
    read = job(
        BASE.replace("path: a", options) + "cluster: {environment: {NUM_STREAMS: 1, V: 1.10}}", tmp_path=tmp_path
    )
    assert read.data.options == {
        "header": "true", "inferSchema": "false", "maxColumns": "20000", "nullValue": "010", "sep": "1.10",
    }  # fmt: skip
    assert read.cluster.environment == {"NUM_STREAMS": "1", "V": "1.10"}
    with pytest.raises(ConfigError, match=r"data.options.nullValue: input should be a valid string.*found None"):
        job(BASE.replace("path: a", "path: a, options: {nullValue: ~}"), tmp_path=tmp_path)
    with pytest.raises(ConfigError, match=r"cluster.environment.FLAG: input should be a valid string.*found True"):
        job(BASE + "cluster: {environment: {FLAG: True}}", tmp_path=tmp_path)


def test_numbers_are_numbers_in_a_file_and_in_set(tmp_path: Path) -> None:
    with_rate = BASE.replace("loss: l2", "loss: l2, optimizer: {name: sgd, learning_rate: 1e-3, wd: 010}")
    read = job(with_rate, "training.batch_size=010", "report.progress=off", "job.take_over=yes", tmp_path=tmp_path)
    assert read.training.optimizer.options == {"learning_rate": 0.001, "wd": 10}
    assert [type(value) for value in read.training.optimizer.options.values()] == [float, int]
    assert (read.training.batch_size, read.report.progress, read.job.take_over) == (10, "off", True)
    again = job(BASE, "training.optimizer.name=adam", "training.optimizer.learning_rate=1e-3", tmp_path=tmp_path)
    assert again.training.optimizer.options == {"learning_rate": 0.001}
    for wrong in ("training.epochs=1:30", "training.epochs=2020-01-01", "training.epochs=no", "failure.hang_s=.inf"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            job(BASE, wrong, tmp_path=tmp_path)
    with pytest.raises(ConfigError, match=r"learning_rate is '1:30' and must be a number"):
        job(BASE, "training.optimizer.name=sgd", "training.optimizer.learning_rate=1:30", tmp_path=tmp_path)


def test_a_section_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training: is there twice, on line 2 and on line 3; remove one of them"):
        job(BASE + 'training: {network: "a:b", loss: l1}\n', tmp_path=tmp_path)
    with pytest.raises(ConfigError) as caught:
        job(BASE + "training: {epochs: 0, sead: 1}\nreport: {every_s: !s 5}\nchekpoint: {}", tmp_path=tmp_path)
    assert [line[4:].partition("; ")[0] for line in str(caught.value).splitlines()[1:]] == [
        "training: is there twice, on line 2 and on line 3",
        "report.every_s: the tag !s on line 4 is not read",
        "chekpoint: is not a section",
        "training.epochs: input should be greater than 0, found 0",
        "training.sead: is not a key",
    ], "with all other problems, and none of what stands in the first of two sections alone"
    _, problems = override({}, ["data.features={a: {}, a: {}}"])
    assert problems and "a: is there twice" in problems[0]


def test_the_launcher_reads_the_job_file_as_the_job_does(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    for text, workers in (("010", 10), ("0x10", 16), ("1:30", 1), ("no", 1)):
        path.write_text(f"\ufeffcluster: {{num_workers: {text}}}")
        assert num_workers(["--config", str(path)]) == workers
        assert num_workers(["--set", f"cluster.num_workers={text}"]) == workers
