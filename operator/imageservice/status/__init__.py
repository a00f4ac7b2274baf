"""PURE: what was observed -> conditions, counts and events. No I/O, no clock of its own."""
