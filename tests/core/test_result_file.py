"""``--result``: refused where nothing can be written, and nothing that a finished run is lost to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mxspark.cli import main
from mxspark.errors import InputError
from mxspark.report import result_file


def test_what_cannot_be_written_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result_file.check(None)
    result_file.check(str(tmp_path / "file"))
    result_file.check(str(tmp_path / "new"))
    for name, words in (("", "is a folder"), ("none/r", "there is no folder"), ("file/r", "there is no folder")):
        with pytest.raises(InputError, match=words):
            result_file.check(str(tmp_path / name))
    assert os.listdir(tmp_path) == ["file"]


def test_the_command_line_refuses_it_before_the_job_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["train", "--config", "/nowhere/job.yaml", "--result", "/nowhere/r.json"]) == 2
    assert capsys.readouterr().err.startswith("mxspark: --result /nowhere/r.json: there is no folder /nowhere")


def test_a_folder_that_goes_away_meanwhile_is_only_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result_file.write(str(tmp_path / "r.json"), {"status": "succeeded"})
    assert json.loads((tmp_path / "r.json").read_text()) == {"status": "succeeded"}
    result_file.write(str(tmp_path / "none/r.json"), {})
    assert "cannot be written: No such file or directory" in capsys.readouterr().err
