"""doubledraft: measure what chain of draft and speculative decoding give together."""

__version__ = "0.1.0"
