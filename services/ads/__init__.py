"""The advertisements spoke: models that say what an advertisement is worth. It imports the hub, no spoke."""
