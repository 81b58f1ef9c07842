"""Inference that equals one forward pass over the whole image, window by window or strip by strip.

A network is a graph of operations, and each operation knows one thing about geometry: which interval
of its input an interval of its output depends on. Walking the graph backwards from a window of the
output gives, for every layer, exactly what has to be computed of it, and nothing else::

    logits          |=====|             wanted: [a, b)
    convolution 3  |=======|            needs [a - 1, b + 1)
    enlarged by 2  |=======|            needs [(a - 1) // 2, b // 2 + 1) of the level below
    pooling by 2   ...                  needs [2 a', 2 b') of the level above
    image    |=====================|    read: no more than this, and cut off at the border

Each layer is then computed on its interval from its input's interval, without any padding; only what
lies beyond the true border of the image is filled up, by the rule of the layer. So it is never
necessary to blend, and the wide context that U-Nets need is computed where it is cheap, in the encoder.

- `intervals`: the arithmetic of intervals.
- `operations`, `sampling`, `resampling`: what layers are made of; each has `size`, `needs` and `run`.
- `graph`, `tracing`, `rules`: from a network to a graph of operations.
- `folding`, `packing`, `preparing`: the same graph, quicker.
- `executor`: any window of the output. `streaming`: all of it in strips, nothing computed twice.
- `reach`, `memory`, `planning`: how far a network looks, what it costs, and so how large strips may be.
"""
