"""How an event is handled: once, in one transaction. The bus, the journal, the reaction loop, dead letters."""
