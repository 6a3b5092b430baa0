"""The content moderation spoke: models that look for what must not be shown. It imports the hub, no spoke."""
