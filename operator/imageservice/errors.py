"""The two ways in which a reconcile ends early on purpose. Anything else that is raised is a bug and is backed off."""


class Blocked(Exception):  # noqa: N818 - a state of the object, not an error of the program
    """The user's input is wrong or missing: nothing will change until somebody changes it.

    `condition` is the condition that turns False, `reason` its CamelCase reason, `message` says what is wrong,
    where, and how to mend it. Neither may ever hold the content of a Secret.
    """

    def __init__(self, condition: str, reason: str, message: str) -> None:
        super().__init__(f"{condition}={reason}: {message}")
        self.condition = condition
        self.reason = reason
        self.message = message


class Retry(Exception):  # noqa: N818 - a state of the object, not an error of the program
    """Something outside is not ready yet: look again after `after_seconds`. The other fields are as in `Blocked`."""

    def __init__(self, after_seconds: float, condition: str, reason: str, message: str) -> None:
        super().__init__(f"{condition}={reason}: {message}")
        self.after_seconds = after_seconds
        self.condition = condition
        self.reason = reason
        self.message = message
