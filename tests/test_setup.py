"""The scripts behind the two commands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for Linux and macOS")


def run(script: str, *arguments: str, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script that finds only the commands in `path`, besides the system's plainest."""
    return subprocess.run(
        [shutil.which("sh"), str(ROOT / "scripts" / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{path}{os.pathsep}{path / 'plain'}"} | environment,
    )


@pytest.fixture
def commands(tmp_path):
    """A folder with the system's plainest commands, to which a test adds its own."""
    (tmp_path / "plain").mkdir()
    for name in ("grep", "printf", "uname", "env", "sh"):
        (tmp_path / "plain" / name).symlink_to(shutil.which(name))

    def add(name: str, body: str) -> Path:
        command = tmp_path / name
        command.write_text(f"#!{shutil.which('sh')}\n{body}\n")
        command.chmod(0o755)
        return command

    add.path = tmp_path
    return add


ALL_BUT_XAUTH = 'for last; do :; done; [ "$last" != xauth ] && [ "$last" != xautht64 ] && echo installed'


@pytest.fixture
def debian(commands):
    """A Debian machine on which xauth is missing; what is done to it is written to a log."""
    commands("dpkg-query", ALL_BUT_XAUTH)
    commands("apt-get", f'echo "apt-get $*" >> {commands.path / "log"}')
    commands("id", "echo 0")
    return commands


def log_of(commands) -> str:
    log = commands.path / "log"
    return log.read_text() if log.exists() else ""


def test_only_missing_packages_are_installed(debian):
    ran = run("system_packages.sh", path=debian.path)
    assert ran.returncode == 0, ran.stderr
    assert log_of(debian).splitlines()[-1].endswith("--no-install-recommends xauth")


def test_nothing_is_asked_for_when_nothing_is_missing(debian):
    debian("dpkg-query", "echo installed")
    ran = run("system_packages.sh", path=debian.path)
    assert (ran.returncode, ran.stdout, log_of(debian)) == (0, "", "")


def test_sudo_is_used_only_by_those_who_need_it_and_announced(debian):
    debian("id", "echo 1000")
    debian("sudo", f'echo sudo >> {debian.path / "log"}; exec "$@"')
    ran = run("system_packages.sh", path=debian.path)
    assert ran.returncode == 0, ran.stderr
    assert "administrator's right" in ran.stdout
    assert log_of(debian).startswith("sudo")


def test_without_sudo_one_is_told_what_to_run(debian):
    debian("id", "echo 1000")
    ran = run("system_packages.sh", path=debian.path)
    assert ran.returncode == 1
    assert "apt-get install" in ran.stdout
    assert not log_of(debian)


def test_renamed_libraries_count(debian):
    debian("dpkg-query", 'for last; do :; done; case "$last" in *t64) echo installed;; *) exit 1;; esac')
    assert run("system_packages.sh", path=debian.path).returncode == 0
    assert not log_of(debian)


def test_other_systems_are_left_alone(commands):
    ran = run("system_packages.sh", path=commands.path)
    assert ran.returncode == 0


def test_a_newer_python_is_found_beside_an_old_one(commands):
    commands("python3", "exit 1")
    newer = commands("python3.12", "exit 0")
    ran = run("find_python.sh", path=commands.path)
    assert ran.stdout.strip() == str(newer)


def test_a_missing_python_is_explained(commands):
    commands("python3", '[ "$1" = --version ] && echo "Python 3.9.2" || exit 1')
    ran = run("find_python.sh", path=commands.path)
    assert ran.returncode == 1
    assert "Python 3.9.2" in ran.stderr
    assert "apt-get install" in ran.stderr
