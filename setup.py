"""Puts the notebooks and their profiles into the wheel; all else is in pyproject.toml.

In the repository they stand beside the library, where readers look for them; an installed library
finds its own copy in ``esiamfc_lib/notebooks`` (``runtime.paths.notebook_folder``).
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class WithNotebooks(build_py):
    """``build_py`` that copies the notebooks, too, but not for an editable installation."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for file in (*HERE.glob("notebooks/*.ipynb"), *HERE.glob("notebooks/profiles/**/*.yaml")):
            target = Path(self.build_lib, "esiamfc_lib", file.relative_to(HERE))
            self.mkpath(str(target.parent))
            self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": WithNotebooks})
