"""Between bytes and the domain, in both directions. Pure."""
