"""What the card can do at most: a large matrix product, and a large copy."""

import torch

from speed.gpu.run import Run
from speed.gpu.timing import seconds_of


def measure(run: Run) -> None:
    """Peaks by precision, each against plain fp32; and the memory's speed."""
    for precision, flops in run.peak.items():
        name = f"matrix product of {run.sizes.matrix}³, {precision}; reference: fp32"
        run.add(name, flops / 1e12, run.peak["fp32"] / 1e12, "TFLOP/s")
    count = 2**28 if run.gpu else 2**22
    source = torch.ones(count, dtype=torch.float32, device=run.device)
    target, host = torch.empty_like(source), torch.ones(count // 8, pin_memory=run.gpu)
    inside = seconds_of(lambda: target.copy_(source), run.device, run.sizes.seconds)
    part = target[: len(host)]
    upload = seconds_of(lambda: part.copy_(host, non_blocking=True), run.device, run.sizes.seconds)
    run.add(
        "copy within the device's memory, read and written; reference: from pinned host memory",
        8 * count / inside / 1e9,
        4 * len(host) / upload / 1e9,
        "GB/s",
    )
    if run.gpu:
        free, total = torch.cuda.mem_get_info(run.device)
        run.add("free memory; reference: all of the card's", free / 1e9, total / 1e9, "GB")


def peaks(run: Run) -> dict[str, float]:
    """FLOP/s, 2 n³ a product of two n × n matrices of random numbers."""
    n, found = run.sizes.matrix, {}
    kinds = {"fp32": (torch.float32, False), "bf16": (torch.bfloat16, False)}
    if run.gpu:
        kinds["tf32"] = (torch.float32, True)
    for name, (kind, tf32) in kinds.items():
        a, b = (torch.randn(n, n, device=run.device).to(kind) for _ in range(2))
        out = torch.empty_like(a)
        with tf32_set(tf32, tf32):
            taken = seconds_of(
                lambda a=a, b=b, out=out: torch.matmul(a, b, out=out), run.device, run.sizes.seconds
            )
        found[name] = 2 * n**3 / taken
    return found


class tf32_set:
    """Within the block convolutions in fp32 may, or may not, be made in TF32; so may products of
    matrices, which by PyTorch's default are not."""

    def __init__(self, convolutions: bool, products: bool = False):
        self.allowed = products, convolutions

    def __enter__(self):
        self.before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        self._set(self.allowed)

    def __exit__(self, *error):
        self._set(self.before)

    def _set(self, values: tuple[bool, bool]) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = values
