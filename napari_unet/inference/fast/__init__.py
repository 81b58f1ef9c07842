"""The fast mode: the network on the CPU with integers of 8 bits, by OpenVINO.

It changes some labels. How many is measured on windows of the user's own image, said, and if they
are too many the exact mode is used instead.

    library      the optional packages, imported without their reports of use
    sampling     windows of the image with most in them: some to calibrate with, others to measure on
    quantizing   from a network to integers
    placing      tiles of one shape that end where the image does
    engine       runs them
    judging      what it changes, measured against the exact mode
    preparing    all of this in order, as events
"""
