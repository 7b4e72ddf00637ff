"""README and docs, followed to the letter: what they show runs, and runs again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from spark import checkouts

from mxspark import JobConfig
from mxspark.config import yaml12
from mxspark.config.job_file import merge

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGES = Path(pytest.__file__).resolve().parents[1]
MOST_LINES = 10
FLATS = "rooms,area,price\n" + "".join(f"{1 + n % 5},{30 + 7 * n % 80},{50 * (n % 5) + 2 * n}\n" for n in range(100))
#: Examples that need more than a Spark session; the tests that run what they show.
ELSEWHERE = {
    "yarn.md": "cluster/test_yarn.py",
    "failures.md": "spark/test_airflow.py",
    "operations.md": "spark/test_check.py",
}


def blocks(page: Path, language: str) -> list[str]:
    """Return the examples of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


TRY_IT, PRIVATE, OWN = blocks(ROOT / "README.md", "sh")
(JOB,) = blocks(ROOT / "README.md", "yaml")
NETWORK, FROM_PYTHON = blocks(ROOT / "README.md", "python")
QUESTIONS = (ROOT / "README.md").read_text().split("## How do I")[1].split("\n## ")[0]
ANSWERS = re.findall(r"^\| ([^|]+) \| (.+) \|$", QUESTIONS, re.M)[1:]


def shell(block: str, folder: Path, checkout: Path, **variables: str) -> str:
    """Run the lines of a block as a shell of the user's would, and return what is said; the last line may span some."""
    commands = re.sub(r"'[^']*'", "''", block)
    assert len(commands.splitlines()) <= MOST_LINES
    block = block.replace("~/mxspark", str(checkout))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout as it is cloned, which shares the installer of this one."""
    made = checkouts.copy(tmp_path / "mxspark")
    checkouts.lend_installer(made)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the files of a user's: rows, a job, a network that needs a package of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "flats.csv").write_text(FLATS)
    (folder / "job.yaml").write_text(JOB)
    (folder / "mynet.py").write_text(NETWORK)
    (folder / "requirements.txt").write_text("tomli-w\n")
    return folder


@pytest.fixture
def times(request: pytest.FixtureRequest) -> int:
    """How often what starts a JVM of its own is run."""
    return 2 if request.config.getoption("--long") else 1


def test_the_first_command_trains_and_then_finds_nothing_left(checkout: Path, times: int) -> None:
    said = [shell(TRY_IT, checkout, checkout, MXSPARK_ENVIRONMENT=sys.prefix) for _ in range(times)]
    assert (checkout / "runs/digits/model-best/model-0000.params").is_file()
    assert "nothing left to train" in said[1] if times == 2 else "nothing left to train" not in said[0]


def test_the_first_hour_in_the_private_environment(checkout: Path, project: Path) -> None:
    (project / "mynet.py").write_text("import tomli_w\n\n" + NETWORK)
    first, second = (shell(PRIVATE, project, checkout, MXSPARK_ENVIRONMENT=sys.prefix) for _ in range(2))
    assert "installing requirements.txt" in first and "installing" not in second
    assert "nothing left to train" in second
    assert predictions(first) == predictions(second)


def test_the_first_hour_in_an_environment_of_ones_own(checkout: Path, project: Path, times: int) -> None:
    """The packages that ``pip install`` would fetch are those of this environment, unless there is time for it."""
    said = [shell(OWN, project, checkout, PYTHONPATH=str(PACKAGES)) for _ in range(times)]
    assert "Successfully installed mxspark" in said[0]
    assert (project / "every-key.yaml").read_text() == (ROOT / "conf/job.yaml").read_text()
    assert "epoch 20" in said[0] and len(predictions(said[0])) == 2
    assert len({tuple(predictions(each)) for each in said}) == 1


@pytest.mark.long
def test_a_bare_machine_is_enough_for_both(checkout: Path, project: Path) -> None:
    bare = {"PATH": "/usr/bin:/bin", "MXSPARK_ENVIRONMENT": "", "PYTHONPATH": ""}
    for block in (PRIVATE, OWN):
        shutil.rmtree(project / "runs", ignore_errors=True)
        assert len(predictions(shell(block, project, checkout, **bare))) == 2


def predictions(said: str) -> list[str]:
    """Return what is printed of an array of two rows."""
    return re.findall(r"^ ?\[?\[ *(-?[\d.]+)\]\]?$", said, re.M)


@pytest.mark.filterwarnings("ignore:Please import .csr_matrix.:DeprecationWarning")  # nd.array asks scipy so
def test_what_is_shown_from_python_runs_twice(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    here = {'"examples/': f'"{ROOT}/examples/', '"/tmp/mxspark-howto-model"': repr(str(tmp_path / "model"))}
    said = []
    for _ in range(2):
        names = {"spark": spark, "__name__": "__main__"}
        for number, block in enumerate([FROM_PYTHON, *blocks(DOCS / "howto.md", "python")]):
            for shown, meant in here.items():
                block = block.replace(shown, meant)
            exec(compile(block, f"example {number}", "exec"), names)
        said.append(capsys.readouterr().out)
    assert predicted(said[0]) == predicted(said[1])
    assert "nothing left to train" in said[1]


def predicted(said: str) -> list[str]:
    """Return the lines with numbers that a model has given."""
    found = re.findall(r"^(?:predicted .*|0\.\d+|\|.*\|)$", said, re.M)
    assert len(found) > 3
    return found


def test_examples_of_the_other_pages_run_twice(spark: SparkSession) -> None:
    frame = spark.range(12).selectExpr("cast(id % 3 as int) as label")
    for _ in range(2):
        names = {"df": frame, "spark": spark, "__name__": "__main__"}
        for page in ("functions.md", "metrics.md"):
            for block in blocks(DOCS / page, "python"):
                exec(compile(block, page, "exec"), names)
        assert names["classes"] == 3
    for block in blocks(DOCS / "metrics.md", "yaml"):
        JobConfig.from_dict(merge(yaml12.load(JOB), yaml12.load(block)))


def test_no_example_is_left_out() -> None:
    run_here = {"README.md", "howto.md", "functions.md", "metrics.md"}
    for page in (ROOT / "README.md", *DOCS.glob("*.md")):
        if re.search(r"^```(python|yaml|sh)$", page.read_text(), re.M) and page.name not in run_here:
            assert (ROOT / "tests" / ELSEWHERE[page.name]).is_file()


@pytest.mark.parametrize("question", [question for question, _ in ANSWERS])
def test_an_answer_is_a_job_that_is_accepted(question: str) -> None:
    answer = dict(ANSWERS)[question]
    raw = yaml12.load(JOB)
    raw["training"] |= {"loss": "sigmoid_binary_cross_entropy", "metrics": ["auc"]}
    for keys in re.findall(r"`((?:job|data|cluster|training): \{.*?\})`", answer):
        JobConfig.from_dict(merge(raw, yaml12.load(keys)))
    sets = re.findall(r"--set ([^\s`]+)", answer)
    assert all(JobConfig.from_yaml(str(ROOT / "conf/digits.yaml"), [text]) for text in sets)
