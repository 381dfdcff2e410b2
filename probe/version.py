"""The program's version, as the installed package has it."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("sev1probe")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0+unknown"
