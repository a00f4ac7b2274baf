"""How far the roll-out of a DaemonSet is, read from its status."""

from dataclasses import dataclass

from imageservice.manifest import Manifest


@dataclass(frozen=True)
class NodeCounts:
    """Nodes by what is on them. `observed` is False while its controller has not seen the newest spec."""

    desired: int
    ready: int
    updated: int
    observed: bool

    @property
    def newest_everywhere(self) -> bool:
        """Whether no pod of an older revision is left."""
        return self.observed and self.updated >= self.desired


def read(daemon_set: Manifest) -> NodeCounts:
    """Read the counts; a field that is missing counts as zero."""
    status = daemon_set.get("status", {})
    return NodeCounts(
        desired=status.get("desiredNumberScheduled", 0),
        ready=status.get("numberReady", 0),
        updated=status.get("updatedNumberScheduled", 0),
        observed=status.get("observedGeneration", 0) >= daemon_set["metadata"].get("generation", 0),
    )
