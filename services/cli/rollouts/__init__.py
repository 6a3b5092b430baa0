"""`streamrec rollouts`: what is being rolled out, how it goes, and steering it.

What may not go in: what decides a rollout (`streamrec.rollout`), and what it is asked through
(`services.cli.control_plane`).
"""
