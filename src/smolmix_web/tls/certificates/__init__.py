"""X.509 without help: DER, certificates, names, signatures and paths of RFC 5280.

Independent of the crypto provider's own notions of a certificate; only signatures are checked by it.
"""
