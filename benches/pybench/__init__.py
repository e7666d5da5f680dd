"""The benchmark of what Python programs see: `Server` beside other servers, and the client.

In reading order: `table` (the rows and what they must reach), `measure` (how each is measured), `sides` (who
takes part), `report` (the tables). The rest are programs that run in processes of their own: the servers
`wse`, `chat_fastapi`, `chat_picows` and `wake_picows`; `reader`, which is a client, and `feed`, the server
that it reads from; `waker`, which wakes servers; and `serving`, which they share. Processes, rounds and
figures are those of `wsebench`.
"""
