"""Processes that run a module of the package."""

import subprocess

from reid_dhm.processes import module_command


def test_files_in_the_current_folder_are_not_taken_for_modules(tmp_path):
    for name in ("json", "typer", "reid_dhm"):
        (tmp_path / f"{name}.py").write_text("open('run', 'w').close()")
    command = module_command("reid_dhm", "--version")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("reid-dhm "), done.stderr
    assert not (tmp_path / "run").exists()


def test_a_checkout_that_is_not_installed_is_found(tmp_path):
    command = module_command("reid_dhm.version")
    # -S leaves out the folders of installed packages.
    command[1:1] = ["-S"]
    done = subprocess.run(
        command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
