"""For all tests: small tensors are fastest on one thread, and tests run beside each other."""

import torch

torch.set_num_threads(1)
