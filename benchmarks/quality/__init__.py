"""A synthetic world, the tiny checkpoint trained on it, and what that checkpoint is worth."""
