"""The command line: one module a verb, imported only when that verb runs.

Only this package prints and exits. A verb's module has
`configure(parser: ArgumentParser) -> None` and `run(args: Namespace) -> int`.
"""

try:
    from vclaw.cli.main import main, program
except KeyboardInterrupt:  # nothing has begun, and nothing is to be said
    raise SystemExit(130) from None

__all__ = ["main", "program"]
