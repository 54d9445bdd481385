"""A real OpenTelemetry collector: where it comes from, and one that runs."""
