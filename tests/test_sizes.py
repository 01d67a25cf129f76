"""What masks and fine-tuned weights cost, by the compressors that anyone has."""

import gzip
import lzma

import numpy as np
import torch
import zstandard

from submasking.experiments import sizes


def tuned(seed=0, change=0.01):
    g = torch.Generator().manual_seed(seed)
    before = {"b": torch.randn(64, 32, 3, 3, generator=g), "a": torch.randn(64, 64, generator=g)}
    return {name: w + change * torch.randn(w.shape, generator=g) for name, w in before.items()}, before


def test_every_compressor_is_asked_for_the_packed_bits():
    g = torch.Generator().manual_seed(0)
    masks = {name: torch.rand(40, 33, generator=g) < 0.9 for name in ("b", "a")}
    bits = np.packbits(np.concatenate([~masks["a"].numpy().ravel(), ~masks["b"].numpy().ravel()])).tobytes()
    found = sizes.report(masks)
    assert found["raw_bits"] == 2 * 40 * 33
    assert found["gzip_bytes"] == len(gzip.compress(bits, 9, mtime=0))
    assert found["zstd_bytes"] == len(zstandard.compress(bits, 22))
    assert found["lzma_bytes"] == len(lzma.compress(bits, preset=9 | lzma.PRESET_EXTREME))


def test_fine_tuned_weights_are_compressed_as_float32_in_the_order_of_their_names():
    after, before = tuned()
    content = after["a"].numpy().tobytes() + after["b"].numpy().tobytes()
    found = sizes.weights_report(after, before | {"frozen": torch.ones(9)})
    assert found["weights_raw_bytes"] == len(content) == 4 * (64 * 64 + 64 * 32 * 9)
    assert found["weights_zstd_bytes"] == len(zstandard.compress(content, 3))
    assert found["weights_lzma_bytes"] == len(lzma.compress(content, preset=0))


def test_the_difference_to_the_backbone_is_what_its_holder_needs():
    (far, before), (near, _) = tuned(), tuned(change=1e-4)
    far_bytes, near_bytes = (sizes.weights_report(after, before)["weights_delta_bytes"] for after in (far, near))
    assert near_bytes < far_bytes < sizes.weights_report(far, before)["weights_zstd_bytes"]
    assert sizes.weights_report(before, before)["weights_delta_bytes"] < 100
