"""How likely an advertisement is clicked: three features and one weight for each. No serving, no judging."""
