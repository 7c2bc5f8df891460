"""What a hostile runner can be asked to do, by the first value of a request."""

ACT = {
    "flood": 1, "fill": 2, "fork": 3, "garbage": 4, "giant": 5, "nan": 6, "segfault": 7, "leave": 8, "nonsense": 9,
    "stranger": 10, "chatter": 11,
}  # fmt: skip
