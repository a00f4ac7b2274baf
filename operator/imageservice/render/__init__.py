"""Pure rendering: from an ImageService with its references resolved to Kubernetes objects. No I/O, no clock."""
