"""How likely a comment is hateful: character n-grams and one weight for each. No serving, no judging."""
