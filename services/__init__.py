"""The spokes and the processes we run. Thin where they wrap the hub; the hub never imports from here."""
