"""What the services tell about themselves: log set-up and metrics, every name declared once."""
