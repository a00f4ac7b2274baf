"""Clients of what runs in the pods of Glance."""
