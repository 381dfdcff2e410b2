"""sev1probe: proves, second by second, whether an e-mail provider was Unavailable."""
