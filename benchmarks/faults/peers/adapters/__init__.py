"""One module a peer: the calls its manual asks for, made at the script's own places."""
