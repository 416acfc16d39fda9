"""
`routines worker`: runs a command for each issue of an agent.

Who holds an issue is decided by the server: each checkout is made for a work session of its own, and of two
workers the second gets a 409 and leaves the issue alone. A worker also notes its session in a claim file, which
it and the command keep locked. When the worker is killed, the next one on this machine finds the file unlocked
as soon as the command has ended too, takes the session over and runs the issue again. An issue in progress
without such a file belongs to someone else; if that one is gone for good, the board can force-release it.
"""
