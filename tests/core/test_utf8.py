"""Names keep their letters whatever the locale."""

from __future__ import annotations

import pytest

from mxspark.errors import InputError
from mxspark.launch.settings import CommandLine, our_arguments, sort_arguments
from mxspark.system import utf8


@pytest.mark.parametrize(
    ("environ", "changes"),
    [
        ({"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}),
        ({"LC_ALL": "POSIX", "LANG": "C.UTF-8"}, {"LC_ALL": "C.UTF-8"}),
        ({"LC_ALL": "en_US.ISO-8859-1"}, {"LC_ALL": "C.UTF-8"}),
        ({"LC_ALL": "no/such\x01"}, {"LC_ALL": "C.UTF-8"}),
        ({"LC_CTYPE": "C"}, {"LC_CTYPE": "C.UTF-8"}),
        ({"LANG": "C"}, {"LC_CTYPE": "C.UTF-8"}),
        ({"LANG": "tlh_KX"}, {"LC_CTYPE": "C.UTF-8"}),
        ({}, {"LC_CTYPE": "C.UTF-8"}),
        ({"LC_ALL": ""}, {"LC_CTYPE": "C.UTF-8"}),
        ({"LC_ALL": "", "LANG": "C.UTF-8"}, {}),
        ({"LC_ALL": "C.UTF-8"}, {}),
        ({"LANG": "C.utf8"}, {}),
    ],
)
def test_children_take_names_for_utf8(environ: dict[str, str], changes: dict[str, str]) -> None:
    assert utf8.variables(environ) == changes


def test_a_locale_of_the_users_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utf8, "_is_there", lambda name: name in ("de_DE.ISO-8859-1", "en_US.UTF-8"))
    assert utf8.variables({"LC_ALL": "de_DE.ISO-8859-1"}) == {}
    assert utf8.variables({"LC_ALL": "C"}) == {"LC_ALL": "en_US.UTF-8"}
    monkeypatch.setattr(utf8, "_is_there", lambda name: False)
    assert utf8.variables({"LC_ALL": "C"}) == {}


def test_what_an_encoding_cannot_say_is_told_by_its_key() -> None:
    names = {"a": "runs/x", "b": "runs/größe", "c": "数"}
    assert utf8.unsayable(names, "ANSI_X3.4-1968") == ["b", "c"]
    assert utf8.unsayable(names, "ISO-8859-1") == ["c"]
    assert utf8.unsayable(names, "UTF-8") == utf8.unsayable(names, "x-unknown") == []


def test_arguments_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(InputError, match=r"gr.*e.yaml.* is not UTF-8 and would arrive as another name"):
        sort_arguments(["train.py", "--config", b"gr\xf6\xdfe.yaml".decode("utf-8", "surrogateescape")])
    assert sort_arguments(["train.py", "größe"]).arguments == ("größe",)


def test_containers_are_given_a_locale() -> None:
    from pathlib import Path

    def given(*spark: str) -> list[str]:
        return our_arguments(CommandLine(spark, "a.py", ()), {}, Path("/"), 2)

    on_yarn = given("--master", "yarn")
    assert "spark.executorEnv.LC_ALL=C.UTF-8" in on_yarn and "spark.yarn.appMasterEnv.LC_ALL=C.UTF-8" in on_yarn
    kept = given("--master", "yarn", "--conf", "spark.executorEnv.LC_ALL=de_DE.UTF-8")
    assert "spark.executorEnv.LC_ALL=C.UTF-8" not in kept
    assert not any("LC_ALL" in text for text in given())
