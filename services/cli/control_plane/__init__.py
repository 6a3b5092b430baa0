"""What commands ask of the control plane: over HTTP, or in this process on the workspace.

What may not go in: what the control plane does (`services.control_plane`).
"""
