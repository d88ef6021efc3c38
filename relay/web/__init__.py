"""The HTTP door: what applications ask of the relay, and what it shows them."""
