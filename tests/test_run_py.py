"""run.py, the command that needs only the standard library: when it sets up, and what it says when it cannot."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run_py(tmp_path, monkeypatch):
    """The script as a module, for an environment in a temporary folder, with every command written down."""
    spec = importlib.util.spec_from_file_location("run_py", ROOT / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    module.calls, module.became = [], []
    monkeypatch.setattr(module, "call", lambda command, **_: module.calls.append(command))
    monkeypatch.setattr(module, "become", lambda command: module.became.append(command) or 0)
    monkeypatch.setattr(module, "link_project", lambda: None)

    def make_environment():
        module.VENV.mkdir(exist_ok=True)
        module.calls.append(["venv"])

    monkeypatch.setattr(module, "make_environment", make_environment)
    return module


def test_the_first_start_sets_up_and_the_next_does_not(run_py):
    assert run_py.main([]) == 0
    assert any("sync" in call for call in run_py.calls)
    run_py.calls.clear()
    assert run_py.main([]) == 0
    assert run_py.calls == []
    assert [command[2:] for command in run_py.became] == [["run"], ["run"]]


def test_arguments_are_passed_on(run_py):
    run_py.main(["run", "--listen", "127.0.0.1:1"])
    run_py.main(["user", "create", "alice"])
    run_py.main(["test", "-x", "tests/core"])
    run_py.main(["test"])
    assert [command[2:] for command in run_py.became] == [
        ["run", "--listen", "127.0.0.1:1"],
        ["user", "create", "alice"],
        ["pytest", "-x", "tests/core"],
        ["pytest", "-q", "-n", "auto"],
    ]


def test_tests_need_more_and_the_server_is_content_with_that(run_py):
    run_py.main(["setup"])
    run_py.calls.clear()
    run_py.main(["test"])
    assert any(str(run_py.DEV_LOCK) in call for call in run_py.calls)
    run_py.calls.clear()
    run_py.main(["run"])
    assert run_py.calls == []


def test_another_interpreter_or_lock_sets_up_again(run_py, monkeypatch, tmp_path):
    run_py.main(["setup"])
    changed = tmp_path / "requirements.lock"
    changed.write_text(run_py.SERVER_LOCK.read_text() + "\n")
    monkeypatch.setattr(run_py, "SERVER_LOCK", changed)
    run_py.calls.clear()
    run_py.main(["setup"])
    assert run_py.calls


def test_pip_does_what_uv_cannot(run_py, monkeypatch):
    def call(command, **_):
        run_py.calls.append(command)
        if "sync" in command:
            raise run_py.SetupFailed("no uv here")

    monkeypatch.setattr(run_py, "call", call)
    assert run_py.main(["setup"]) == 0
    assert "--require-hashes" in run_py.calls[-1]
    assert "--only-binary" in run_py.calls[-1]


def test_a_failed_setup_is_told_and_tried_again(run_py, monkeypatch, capsys):
    def call(command, **_):
        raise run_py.SetupFailed("no network")

    monkeypatch.setattr(run_py, "call", call)
    assert run_py.main(["run"]) == 1
    assert "cannot set up: no network" in capsys.readouterr().err
    assert run_py.read_stamp() == ""
    assert run_py.became == []


def test_an_old_python_is_told(run_py, monkeypatch, capsys):
    monkeypatch.setattr(run_py.sys, "version_info", (3, 9, 2))
    assert run_py.main([]) == 1
    assert "needs Python 3.11 or later, this is 3.9" in capsys.readouterr().err


def test_missing_venv_names_the_line_to_type(run_py, monkeypatch, capsys):
    monkeypatch.setattr(run_py, "module_exists", lambda name: name != "ensurepip")
    monkeypatch.setattr(run_py.shutil, "which", lambda name: "/usr/bin/apt-get")
    assert run_py.main([]) == 1
    assert "apt-get install -y python3-venv" in capsys.readouterr().err


def test_it_needs_only_the_standard_library():
    names = re.findall(r"^(?:import|from) (\w+)", (ROOT / "run.py").read_text(), re.MULTILINE)
    assert set(names) <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "lock", ["requirements.lock", "requirements-dev.lock", "requirements-installer.lock"]
)
def test_locks_have_hashes_and_no_address(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    pins = re.findall(r"^[a-z0-9].*==.*$", text, re.MULTILINE)
    assert pins
    assert all(pin.endswith("\\") for pin in pins)  # a hash follows


def test_the_lock_has_what_the_project_asks_for():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for lock, wanted in (
        ("requirements.lock", project["project"]["dependencies"]),
        ("requirements-dev.lock", project["project"]["dependencies"] + project["dependency-groups"]["dev"]),
    ):
        locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        assert {re.match(r"[a-z0-9-]+", name)[0] for name in wanted} <= locked, "run: python3 run.py lock"
