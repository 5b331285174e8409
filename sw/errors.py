"""The error that users see as one sentence."""


__all__ = ["UserError"]


class UserError(Exception):
    """Something that the user can mend. The message says what was wanted and what came."""
