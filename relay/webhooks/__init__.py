"""What the relay says to receivers: payloads, their signatures, and how they are sent."""
