"""What a process needs to start, run and stop: settings, secrets, its own Redis, the run record."""
