"""The command line: one module a verb, imported only when that verb runs.

Only this package prints and exits. A verb's module has
`configure(parser: ArgumentParser) -> None` and `run(args: Namespace) -> int`.
"""

from vclaw.cli.main import main, program

__all__ = ["main", "program"]
