"""What speculation is worth with several requests in flight.

costs     the cost model at every load: speedup, best K, the load beyond which drafting should be off
grid      K x requests in flight, measured in turns, beside that model: load_grid.json
served    vLLM's own server and client at stated request rates
advice    a pair of models judged in minutes, before anything is trained or served
"""
