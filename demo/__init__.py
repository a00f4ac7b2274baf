"""The demo: a real Glance on a real Kubernetes, from one command. Its pieces serve the end-to-end tests too."""
