"""The room with all input and output of the control loop: API server, queue, watches, lease, health, metrics, logs."""
