"""All use of motor: the client, documents, the journal's transactions, field encryption.

Motor's makers end its support in 2027 in favour of PyMongo's own asynchronous client. Nothing outside this package
and the services' `store.py` knows motor, so that the change is a day's work.
"""
