"""image-service-operator: a Kubernetes operator for OpenStack Glance."""
