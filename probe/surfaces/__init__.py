"""One attempt becomes one outcome, on a real socket: `api`, `smtp` and the controls beside them."""
