"""Five services, one question each; they speak to each other over the bus alone."""
