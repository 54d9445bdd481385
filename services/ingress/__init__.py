"""The door: authenticates a post, reads it, makes it durable, and answers."""
