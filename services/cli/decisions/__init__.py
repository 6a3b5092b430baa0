"""Commands by which people decide: access, deployments, reviews, overrides, remediation plans."""
