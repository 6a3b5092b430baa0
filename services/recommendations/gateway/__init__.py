"""The HTTP edge: validation, the path through the stages, the fallback ladder, the event log."""
