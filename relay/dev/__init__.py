"""What a developer's machine has in place of the world: simulated providers, an inbox, and one command for it all."""
