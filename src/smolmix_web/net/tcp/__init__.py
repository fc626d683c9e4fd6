"""TCP: one connection's engine, in parts that each follow one group of RFCs."""
