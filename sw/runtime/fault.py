"""What ends a run: a cause that hardware has too, or a mistake that it would not notice."""


__all__ = ["Fault", "Hazard"]


class Fault(Exception):
    """Ends a run with a cause."""

    def __init__(self, cause, address=0):
        super().__init__(f"{cause.name} at {address:#x}")
        self.cause, self.address = cause, address


class Hazard(Exception):
    """Something was overwritten while it was in use."""
