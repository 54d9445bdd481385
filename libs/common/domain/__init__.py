"""What the bridge is about: alerts, instructions, orders, and the states they move through. Pure."""
