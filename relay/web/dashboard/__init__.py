"""Pages for people, made of the API's own answers and shown to whoever signs in with one of its keys."""
