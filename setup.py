"""Ships the configurations inside the package; the metadata is in ``pyproject.toml``.

In a clone they lie in ``configs/``, where an editable installation finds them.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies ``configs/*.yaml`` to ``reid_dhm/configs/``."""

    def run(self) -> None:
        """Build, then copy, unless the installation is editable."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "reid_dhm", "configs")
            target.mkdir(parents=True, exist_ok=True)
            for source in sorted(Path("configs").glob("*.yaml")):
                shutil.copyfile(source, target / source.name)


setup(cmdclass={"build_py": BuildWithConfigs})
