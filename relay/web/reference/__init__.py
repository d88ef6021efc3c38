"""What the API says of itself: its OpenAPI document, the pages for people, the shapes and words of its answers."""
