"""One module per dialect, each with a `DIALECT`; `recognition` finds the one that a body is of.

`fields` is what they read from and `values` what single values mean; `json_body` is the tolerant reading of JSON;
`words`, `order_prices` and `order_size` are what several of them say alike.
"""
