"""How fast and how frugal the caches of nodes are filled: `python -m bench.caches --help`.

place.py       what it runs on: real Keystone, MariaDB and Glance, and a node with a real agent, all on loopback
fetching.py    one image on one node: the agent beside `curl … | tee … | sha512sum`, its memory, and what it takes idle
filling.py     three images on three nodes: a real operator beside the way by hand, from a store of limited bandwidth
figures.yaml   the figures and their targets
"""
