"""The one exception a user's own mistake raises."""


class InputError(ValueError):
    """Input the user can mend: the message is one line and names the cure. The command line exits with 2."""
