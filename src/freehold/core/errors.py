"""Every error that Freehold raises on purpose.

FreeholdError          exit code 1
├── InputError         exit code 2: a file, an option or a setting is wrong
├── MissingExtra       exit code 2: an optional package is not installed
├── GateClosed         exit code 1: a step that is not allowed yet
└── UpstreamError      exit code 5: a model server or a package mirror failed

A message says what was found, where, what is allowed and what to do.
Secrets and customers' text stay out of it.
"""


class FreeholdError(Exception):
    """Root of the tree; the command line prints it as one line."""

    exit_code = 1


class InputError(FreeholdError):
    """Something that was given to Freehold is wrong."""

    exit_code = 2


class MissingExtra(InputError):
    """An optional package is needed and absent."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        """Name the `purpose`, the missing `package` and the `extra` that brings it."""
        super().__init__(f"{purpose} needs {package!r}. Install it with: pip install 'freehold[{extra}]'")


class GateClosed(FreeholdError):
    """A step was refused because what must come before it has not passed."""


class UpstreamError(FreeholdError):
    """Something outside this process (a model server, a package mirror) failed."""

    exit_code = 5
