"""The stand-alone image classifier of one NATS cell, as a transformers model.

This file and its siblings need torch and transformers alone, because they belong beside weights that must load where
`cnas` is missing.

Legend: B images, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling, load_image
from transformers.loss.loss_utils import fixed_cross_entropy
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils.generic import can_return_tuple

from .norm import AllSum, BatchNorm
from .skeleton import Skeleton, classification_losses, pool
from .topology import CONV_1X1, CONV_3X3, EDGES, NONE, OPERATIONS, OUTPUT, POOL, SKIP


@strict
class CnasNatsConfig(PreTrainedConfig):
    """Configuration of `CnasNatsForImageClassification`.

    Args:
        operations: for each of the six edges 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2 one of ``none``, ``skip_connect``,
            ``nor_conv_1x1``, ``nor_conv_3x3``, ``avg_pool_3x3``; None means the 3×3 convolution everywhere.
        channels: of the first stage; the second has twice, the third four times as many.
        cells: in each of the three stages.
        image_channels: channels of an image.
    """

    model_type = "cnas-nats"

    operations: list[str] | None = None
    channels: int = 16
    cells: int = 5
    image_channels: int = 3

    def picks(self) -> list[int]:
        """The operation of every edge, as an index.

        Raises:
            ValueError: there are not six, or one is unknown.
        """
        names = [OPERATIONS[CONV_3X3]] * len(EDGES) if self.operations is None else self.operations
        if len(names) != len(EDGES) or not set(names) <= set(OPERATIONS):
            raise ValueError(f"operations must be {len(EDGES)} of {', '.join(OPERATIONS)}, got {names}")
        return [OPERATIONS.index(name) for name in names]


class NormedConvolution(nn.Module):
    """A convolution without bias, followed by batch normalisation."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, size, padding=size // 2, bias=False)
        self.norm = BatchNorm(channels)

    def forward(self, x_BCHW: Tensor, all_reduce_sum: AllSum | None) -> Tensor:
        """Convolve and normalise [B, C, height, width]; the shape stays."""
        normed: Tensor = self.norm(self.conv(x_BCHW), all_reduce_sum)
        return normed


class Cell(nn.Module):
    """A cell with one operation on every edge.

    Args:
        channels: C.
        picks: the operation of every edge.
    """

    def __init__(self, channels: int, picks: Sequence[int]) -> None:
        super().__init__()
        self.picks = tuple(picks)
        sizes = {CONV_1X1: 1, CONV_3X3: 3}
        self.convolutions = nn.ModuleDict(
            {str(edge): NormedConvolution(channels, sizes[pick]) for edge, pick in enumerate(picks) if pick in sizes}
        )

    def forward(self, x_BCHW: Tensor, all_reduce_sum: AllSum | None) -> Tensor:
        """The output node, of the same shape."""
        nodes = [x_BCHW]
        for node in range(1, OUTPUT + 1):
            edges = [edge for edge, (target, _) in enumerate(EDGES) if target == node and self.picks[edge] != NONE]
            parts = [self._run(edge, nodes[EDGES[edge][1]], all_reduce_sum) for edge in edges]
            nodes.append(torch.stack(parts).sum(0) if len(parts) > 1 else parts[0] if parts else x_BCHW * 0)
        return nodes[OUTPUT]

    def _run(self, edge: int, x_BCHW: Tensor, all_reduce_sum: AllSum | None) -> Tensor:
        pick = self.picks[edge]
        if pick == SKIP:
            return x_BCHW
        return pool(x_BCHW) if pick == POOL else self.convolutions[str(edge)](x_BCHW.relu(), all_reduce_sum)


class CnasNatsForImageClassification(PreTrainedModel):
    """An image classifier with a cell of the NATS topology space.

    `forward` is the transformers face; `run` is the trainer's. Weights start as torch's own layers start them.
    """

    config_class = CnasNatsConfig
    base_model_prefix = "skeleton"
    main_input_name = "pixel_values"
    batch_statistics = True
    """Whether `run` takes the statistics of its norms over all processes, through ``all_reduce_sum``."""

    def __init__(self, config: CnasNatsConfig) -> None:
        super().__init__(config)
        picks = config.picks()
        self.skeleton = Skeleton(
            config.channels, config.cells, config.num_labels, config.image_channels, lambda c: Cell(c, picks), True
        )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if not isinstance(module, nn.Conv2d | nn.Linear):
            super()._init_weights(module)
            return
        init.kaiming_uniform_(module.weight, a=math.sqrt(5))
        if module.bias is not None:
            bound = 1 / math.sqrt(module.weight[0].numel())
            init.uniform_(module.bias, -bound, bound)

    @property
    def outcomes(self) -> int:
        """How many classes a prediction chooses from."""
        return int(self.config.num_labels)

    def run(
        self,
        inputs_BCHW: Tensor,
        labels_B: Tensor,
        hidden_state: None = None,  # noqa: ARG002 - images have none
        dropout_seeds: Any | None = None,  # noqa: ARG002 - there is no dropout
        all_reduce_sum: AllSum | None = None,
    ) -> tuple[Tensor, Tensor, None, Tensor]:
        """Losses [B], float32 at least, and logits; fields as in `cnas.types.Output`."""
        logits = self._logits(inputs_BCHW, all_reduce_sum)
        losses = classification_losses(logits, labels_B)
        return losses, logits, None, losses.new_zeros(())

    def _logits(self, inputs_BCHW: Tensor, all_reduce_sum: AllSum | None, seen: list[Tensor] | None = None) -> Tensor:
        seen = [] if seen is None else seen
        x = self.skeleton.run_stem(inputs_BCHW, all_reduce_sum)
        seen.append(x)
        for stage, cells in enumerate(self.skeleton.cells()):
            for cell in cells:
                x = cell(x, all_reduce_sum)
            seen.append(x)
            x = self.skeleton.reduce(stage, x, all_reduce_sum)
        return self.skeleton.classify(x, all_reduce_sum)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> ImageClassifierOutput:
        """Logits [B, num_labels] of normalised images [B, channels, height, width], and the mean loss of ``labels``.

        ``num_items_in_batch`` divides the sum of the losses in place of their number. Hidden states, where they are
        asked for, are those behind the stem and behind the cells of every stage.

        Raises:
            ValueError: attentions were asked for, or labels of another kind of problem were given.
        """
        if kwargs.get("output_attentions"):
            raise ValueError("output_attentions must be left out: a convolutional network has none")
        if labels is not None and self.config.problem_type not in {None, "single_label_classification"}:
            raise ValueError(f"problem_type must be single_label_classification, got {self.config.problem_type}")
        seen: list[Tensor] = []
        logits = self._logits(pixel_values, None, seen)
        loss = None
        if labels is not None:
            exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
            loss = fixed_cross_entropy(exact, labels, **kwargs)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return ImageClassifierOutput(loss=loss, logits=logits, hidden_states=tuple(seen) if wanted else None)


class CnasNatsImageProcessor(PilBackend):
    """Turns pictures of any size and mode into ``pixel_values`` [B, channels, height, width] for a classifier.

    A picture is turned as its EXIF orientation says, becomes grey where ``image_mean`` has one channel and RGB where it
    has three, is resized to ``size``, scaled to [0, 1], and normalised per channel.

    Args:
        image_mean: per channel, of values in [0, 1]; that of CIFAR-10 where nothing is said.
        image_std: per channel.
        size: ``{"height": …, "width": …}``, that of the images the network was trained on.
    """

    resample = PILImageResampling.BILINEAR
    size = {"height": 32, "width": 32}  # noqa: RUF012 - transformers' own form
    image_mean = (125.3 / 255, 123.0 / 255, 113.9 / 255)
    image_std = (63.0 / 255, 62.1 / 255, 66.7 / 255)
    do_resize = True
    do_rescale = True
    do_normalize = True

    def process_image(self, image: Any, **kwargs: Any) -> Any:
        """One picture as an array [channels, height, width] of the right number of channels."""
        mode = {1: "L", 3: "RGB"}.get(len(self.image_mean))
        if mode is not None and hasattr(image, "convert"):
            # A pipeline has loaded it so already; who opens a file by hand gets the same.
            image = load_image(image).convert(mode)
        return super().process_image(image, **kwargs)
