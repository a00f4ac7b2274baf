"""One module a kind: observe -> plan (render) -> act -> status."""
