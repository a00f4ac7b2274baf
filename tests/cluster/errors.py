"""What can go wrong with a test cluster, in two kinds."""


class ClusterError(Exception):
    """Something failed; the message says what, and where the log is."""


class Unavailable(ClusterError):  # noqa: N818 (not a fault: a state of the machine)
    """This machine cannot run such a cluster; the message is the reason that a skipped test gives."""
