"""
`routines worker`: runs a command for each issue of an agent, or for each trajectory of a collection.

The server decides who holds an issue: each checkout is made for a work session of its own, and of two workers the
second gets a 409 and leaves the issue alone. A session has its issue by a lease, which is renewed while the command runs. A
guard (guard.py) ends the command before the lease does, when the worker cannot.

A worker also notes its session in a claim file, which it and the command keep locked. When the worker is killed, the file is
unlocked as soon as the command has ended too; the next worker on this machine then takes the session over and runs the
issue again. An issue in progress without such a file is held by somebody else; when their lease runs out, or the board
releases it by force, it is to do again.
"""
