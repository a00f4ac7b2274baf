"""The ports of the pods, which are those of their Services too."""

API_PORT = 9292
"""Port of the Image API (the one that it has had from its beginning)."""
API_PORT_NAME = "http"
MONITOR_PORT = 9293
"""Port of the store monitor: the one beside the Image API's."""
MONITOR_PORT_NAME = "monitor"
AGENT_PORT = 9294
"""Port of the agent of a node's cache: the next one."""
AGENT_PORT_NAME = "agent"
