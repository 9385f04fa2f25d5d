"""The errors a user can meet. Each message is one line; each class is one exit code of the command line."""


class HflowError(Exception):
    """Anything that went wrong and can be told in one line."""

    exit_code = 1  # 2 is click's, for wrong usage


class InputError(HflowError):
    """An image or a file cannot be read."""

    exit_code = 3


class FormatError(HflowError):
    """A `.hfc` file is malformed, truncated, damaged or foreign, or decodes to the wrong symbols."""

    exit_code = 4


class BundleError(HflowError):
    """The model bundle that a file names is missing, or is another one."""

    exit_code = 5


class TargetError(HflowError):
    """The requested size cannot be reached."""

    exit_code = 6


class OutputError(HflowError):
    """The output exists already or cannot be written."""

    exit_code = 7
