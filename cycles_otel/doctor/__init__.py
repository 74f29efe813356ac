"""The doctor: looks at the whole chain from the program to the ledger and its telemetry, and says what to mend.

It changes nothing: the server is asked for balances and for dry runs, the disk keeps no file of it.
"""
