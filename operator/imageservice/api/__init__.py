"""The API of the operator: pydantic models that say what users may write, and how a stored object is read."""
