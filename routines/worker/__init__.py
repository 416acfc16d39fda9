"""
`routines worker`: runs a command for each issue of an agent, or for each trajectory of a collection.

The server decides who holds an issue: each checkout is made for a work session of its own, and of two workers the
second gets a 409 and leaves the issue alone. A worker also notes its session in a claim file, which it and the command keep
locked. When the worker is killed, the file is unlocked as soon as the command has ended too; the next worker on this
machine then takes the session over and runs the issue again. An issue in progress without such a file is held by
somebody else; if that holder is gone for good, the board can force-release the issue.
"""
