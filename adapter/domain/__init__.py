"""Values and rules of energy trading. Standard library only."""
