"""The simulated StreamRec. May not import a stage; nothing but tests may read its truth."""
