"""Build step: put the prose that `explain` shows into the wheel. Everything else stands in pyproject.toml.

The prose comes from the package kubernetes-validate (a build dependency); without it the wheel is built all the same and
`explain` shows fields without descriptions.
"""

import runpy
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

GENERATOR = Path(__file__).resolve().parent / "scripts" / "generate_openapi.py"


class BuildWithDescriptions(build_py):
    """Copies the package, then writes the descriptions beside the copied definitions."""

    def run(self) -> None:
        super().run()
        if self.editable_mode or not GENERATOR.exists():
            return
        folder = Path(self.build_lib) / "carob" / "apiserver" / "openapi"
        try:
            runpy.run_path(str(GENERATOR))["main"](["--descriptions", str(folder)])
        except SystemExit as reason:
            self.announce(f"no descriptions for explain: {reason}", level=3)


setup(cmdclass={"build_py": BuildWithDescriptions})
