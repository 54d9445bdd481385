"""The running bridge with a real OpenTelemetry collector: `make test-collector`."""
