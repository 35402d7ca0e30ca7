"""Speed against the limit (a bare PyTorch loop) and against what people use instead; every figure is a ratio."""
