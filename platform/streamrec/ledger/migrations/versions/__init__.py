"""The migrations. One that was released is never changed; another follows it."""
