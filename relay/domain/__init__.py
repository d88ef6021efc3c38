"""What the relay knows, without asking anything of the outside: values, state tables and arithmetic."""
