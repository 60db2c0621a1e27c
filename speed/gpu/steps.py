"""Steps of training, plain and fast: the networks, losses and learning parts are the library's.

What is faster here than in ``training.loop`` is around them: nothing in a step waits for the
device, so that a step can be captured once as a CUDA graph and replayed by one call.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esiamfc_lib.networks.esiamfc import ESiamFC, fuse
from esiamfc_lib.networks.loss import response_labels
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.training.tasks import BaselineTask, BranchTask, FusionTask, Task
from speed.gpu import timing
from speed.gpu.card import tf32_set

RADIUS, MOMENTUM, DECAY = 16.0, 0.9, 5e-4
KINDS = ("baseline", "branch", "six", "fusion")


class BranchesTask(Task):
    """All branches at once: of a batch of k · B pairs, the j-th B are of branch j's cluster. The
    stem, which is frozen and shared, sees all of them in one call."""

    name = "six"

    def __init__(self, model: ESiamFC, **options):
        super().__init__(model, list(model.branches), **options)

    @torch.no_grad()
    def frozen(self, exemplar: Tensor, search: Tensor, tracks: Tensor) -> tuple[Tensor, ...]:
        return self.model.stem(exemplar), self.model.stem(search)

    def learned(self, z: Tensor, x: Tensor) -> Tensor:
        parts = zip(self.model.branches, z.chunk(self.model.k), x.chunk(self.model.k), strict=True)
        return torch.cat([branch.response(branch(a), branch(b)) for branch, a, b in parts])


def task_of(
    kind: str, width: float, k: int, model: SiamFC | ESiamFC | None = None, **options
) -> Task:
    """One of ``KINDS``, on new weights or on those of a model; an ESiamFC is for fusion or six.
    ``options`` are those of ``Task``."""
    options["radius"] = RADIUS
    if kind == "baseline":
        return BaselineTask(model or SiamFC(width), **options)
    if kind == "branch":
        return BranchTask(model or SiamFC(width), diversity_weight=0.0, **options)
    ensemble = model if isinstance(model, ESiamFC) else None
    ensemble = ensemble or ESiamFC.assembled([model or SiamFC(width)] * k)
    if kind == "six":
        return BranchesTask(ensemble, **options)
    return FusionTask(ensemble, [0], temperature=1.0, entropy_weight=0.0, **options)


@dataclass(frozen=True)
class Variant:
    """How a step is computed; the default is what public SiamFC trainings do."""

    precision: str = "fp32"
    tf32: bool = False
    channels_last: bool = False
    graph: bool = False
    compiled: bool = False
    benchmark: bool = False  # cuDNN tries its algorithms at the first call
    reformed: bool = False  # each convolution in the form that was fastest before


PLAIN = Variant()
TOGETHER = Variant("bf16", tf32=True, channels_last=True, graph=True)
FASTEST = replace(TOGETHER, reformed=True)


class Sgd:
    """SGD with momentum and weight decay, as ``torch.optim.SGD``; the learning rate is a number in
    the device's memory, so that a captured step follows it."""

    def __init__(self, parameters, lr: float, momentum: float = MOMENTUM, decay: float = DECAY):
        self.parameters = list(parameters)
        self.momentum, self.decay = momentum, decay
        self.lr = torch.tensor(lr, device=self.parameters[0].device)
        self.velocity = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One step, after which no gradient is left."""
        gradients = [p.grad for p in self.parameters]
        torch._foreach_add_(gradients, self.parameters, alpha=self.decay)
        torch._foreach_mul_(self.velocity, self.momentum)
        torch._foreach_add_(self.velocity, gradients)
        torch._foreach_sub_(self.parameters, torch._foreach_mul(self.velocity, self.lr))
        for p in self.parameters:
            p.grad = None


class Learner:
    """A task that learns step by step.

    Args:
        source: what makes images of the inputs of a step: uint8 (B, 3, 127, 127) and (B, 3, 255,
            255); by default the inputs are these.
        clip: the largest norm of the gradient of each module that learns; 0: any.

    Attributes:
        total: sum of the losses since it was set to 0, float64 on the device."""

    def __init__(
        self,
        task: Task,
        variant: Variant,
        device: torch.device,
        lr: float = 1e-2,
        source: Callable[..., tuple[Tensor, Tensor]] | None = None,
        clip: float = 0.0,
    ):
        self.variant, self.device, self.clip = variant, device, clip
        self.memory = torch.channels_last if variant.channels_last else torch.contiguous_format
        self.task = task.to(device, memory_format=self.memory).train()
        self.source = source or (lambda *images: images)
        labels = response_labels(17, radius=task.radius)
        shares = labels / labels.sum() + (1 - labels) / (1 - labels).sum()
        self.labels, self.shares = labels.to(device), (shares / 2).to(device)
        self.sgd = Sgd(task.learners.parameters(), lr)
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.loss = torch.compile(self._loss, dynamic=False) if variant.compiled else self._loss

    def _loss(self, exemplar: Tensor, search: Tensor) -> Tensor:
        """The mean loss of a batch, as ``Task.forward`` has it for pairs of one track. The weights
        of ``networks.loss`` are made beforehand: making them copies numbers to the device."""
        task = self.task
        images = [part.to(torch.float32, memory_format=self.memory) for part in (exemplar, search)]
        with autocast(self.device, self.variant.precision):
            inputs = task.frozen(*images, None)  # no folds: the tracks do not count
            if isinstance(task, FusionTask):
                z, responses = inputs
                response = fuse(responses, task.model.cluster_weights(z))
            else:
                response = task.learned(*inputs)
        labels = self.labels.expand_as(response)
        cells = F.binary_cross_entropy_with_logits(response.float(), labels, reduction="none")
        return (self.shares * cells).sum((1, 2)).mean()

    def step(self, *inputs: Tensor) -> None:
        """Learn from one batch; nothing here waits for the device."""
        loss = self.loss(*self.source(*inputs))
        # Each branch learns from the mean over its own pairs.
        gain = self.task.model.k if isinstance(self.task, BranchesTask) else 1
        (loss * gain).backward()
        for module in self.task.learners if self.clip else ():
            nn.utils.clip_grad_norm_(module.parameters(), self.clip, foreach=True)
        self.sgd.step()
        self.total += loss.detach()

    def stepper(self, *inputs: Tensor) -> Callable[[], None]:
        """A step on inputs that stay where they are, whatever they hold: call by call, or, on a
        GPU, as a graph that is captured here. Nothing has been learned when this returns."""
        if not self.variant.graph or not timing.is_gpu(self.device):
            return lambda: self.step(*inputs)
        return self._captured(*inputs)

    def _captured(self, *inputs: Tensor) -> Callable[[], None]:
        tensors = [*self.task.state_dict(keep_vars=True).values(), *self.sgd.velocity, self.total]
        before = [tensor.detach().clone() for tensor in tensors]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.step(*inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()  # kept, as are the inputs, by the function below
        with torch.cuda.graph(self.graph):
            self.step(*inputs)
        with torch.no_grad():
            for tensor, was in zip(tensors, before, strict=True):
                tensor.copy_(was)
        return lambda: self.graph.replay() if inputs else None

    @contextlib.contextmanager
    def settings(self):
        """The process's switches, as the variant wants them."""
        cudnn = torch.backends.cudnn
        before, cudnn.benchmark = cudnn.benchmark, self.variant.benchmark
        try:
            with tf32_set(self.variant.tf32):
                yield
        finally:
            cudnn.benchmark = before


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision as the library's loop uses it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def noise(size: int, device: torch.device, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of random pixels, uint8 (size, 3, 127, 127) and (size, 3, 255, 255), channels last."""
    generator = torch.Generator(device).manual_seed(seed)
    options = {"generator": generator, "dtype": torch.uint8, "device": device}
    return tuple(
        torch.randint(0, 256, (size, side, side, 3), **options).permute(0, 3, 1, 2)
        for side in (127, 255)
    )
