"""A real Kubernetes for tests and for the demo: `python -m tests.cluster --help`.

cluster.py      what a test may ask of a cluster; providers.py says who makes it: local.py, kind.py or current.py
local           control_plane.py, node.py with node-init.sh, disk.py, network.py, coredns.py, kwok.py
undoing it      state.py (records, sweep), processes.py, cgroups.py; leftovers.py looks for what they missed
what it takes   binaries.py and downloads.py (programs), packages.py (of the system), images*.py (containers)
using it        fixtures.py (pytest), cli.py
"""
