"""The room that talks to Keystone: is the service user good, and does the catalogue lead to Glance."""
