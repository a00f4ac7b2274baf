"""Real Ceph clusters for tests: one monitor, one manager and one OSD each, cephx, data in one sparse file.

cluster.py      a running cluster and what a test may do with it: `running(directory, name="central")`
daemons.py      its files and its three processes
settings.py     the text of ceph.conf and of keyrings
gateway.py      an object gateway on a cluster, for the S3 and the Swift interface: `gateway(cluster, keystone)`
sites.py        clusters that the pods and nodes of a test cluster reach: `two_clusters(cluster, directory)`
fixtures.py     all of it for pytest

A cluster is recorded as the test clusters are (tests/cluster/state.py): it belongs to the process that started it, and
what a killed one left is ended by the next run, or by `python -m tests.cluster sweep`.
"""
