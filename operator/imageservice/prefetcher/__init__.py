"""The agent on the nodes of a CachePolicy: fetches images into a node's cache, and keeps the cache in order.

It runs as `python3 -m prefetcher` in the Glance image, on that image's own Python (3.10 or newer), the standard library
and what Glance brings: nothing here imports anything else of the operator, and its modules find each other by relative
imports. Two processes: the supervisor listens, decides and waits; `worker.py` has Glance imported and does the work.
"""
