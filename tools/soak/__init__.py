"""A soak: clients of every kind come and go for a while, and afterwards nothing of them is left.

`make soak MINUTES=10` runs it; `python -m soak --help` (with `tools` on the path) says what can be chosen.

    __main__    the command line
    plan        how long, how many, with which options: everything that a run is made of
    drive       the run itself: starts the processes, leads them through the phases, looks on every second
    program     the process with the server, and the Python program that uses it
    healthy     the process of the readers who must lose nothing
    crowd       a process with a crowd: `polite` and `hostile` are what its clients do, over `wire`
    watch       what is seen of a process from outside, and the brake that bounds the CPU
    verdict     what must hold at the end, and the test of the slope
    plot        the picture, as SVG
"""
