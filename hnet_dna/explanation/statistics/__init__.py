"""Statistics of boundaries and bits, as tables and findings; without figures."""
