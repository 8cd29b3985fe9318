"""Label Studio's run-length code of brush and magic-wand masks: decoder and encoder.

The payload is a bit stream, most significant bit first: 32 bits for the number of values; 5 bits
for the word size minus 1 (8 for images); four times 4 bits for the sizes minus 1 of the run-length
fields; then runs until every value is there. A run has a flag of 1 bit, 2 bits that choose a field
size, that many bits for the length minus 1, and one word for the whole run (flag 1) or one word per
value (flag 0). The values are RGBA in row-major order; alpha holds what was painted. (The code is
that of thi.ng's rle-pack.)
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loco_tools.datasets.images import MAX_PIXELS
from loco_tools.errors import AnnotationError

Alpha = npt.NDArray[np.uint8]

_HEADER_BITS = 32 + 5 + 4 * 4
_FIELDS = (3, 4, 8, 16)
"""Field sizes that Label Studio's own encoder uses; the longest run is 2**16 values."""


def decode(rle: bytes | Sequence[int], height: int, width: int) -> Alpha:
    """Decode the alpha plane of one region.

    The claimed size is checked against the image before anything of that size is allocated; time
    grows with the length of the code, memory with the image alone.

    Args:
        rle: the bytes of the code, or the list of numbers 0-255 as the export holds it.
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        (H, W) uint8, 0 where nothing was painted, 255 where the brush was opaque.

    Raises:
        AnnotationError: the code is malformed, is for another image size, or breaks off.
    """
    try:
        data = bytes(rle)
    except (TypeError, ValueError) as error:
        raise AnnotationError(
            f"run-length code: expected a list of whole numbers from 0 to 255, got {error}"
        ) from error
    sizes = _read_header(data, height, width)
    alpha = bytearray(height * width)
    padded = data + bytes(8)
    values, done, bit = height * width * 4, 0, _HEADER_BITS
    while done < values:
        window = int.from_bytes(padded[bit >> 3 : (bit >> 3) + 8], "big") << (bit & 7)
        field = sizes[window >> 61 & 3]
        length = (window >> (61 - field) & ((1 << field) - 1)) + 1
        is_run, bit = window >> 63 & 1, bit + 3 + field
        end = bit + 8 * (1 if is_run else length)
        if done + length > values:
            raise AnnotationError(
                f"run-length code: corrupt, a run of {length} values after {done} goes beyond the "
                f"{values} of the image"
            )
        if end > 8 * len(data):
            raise AnnotationError(
                f"run-length code: breaks off after {len(data)} bytes with {done} of {values} "
                "values; next step: export again"
            )
        first, last = done // 4, (done + length) // 4
        if not is_run:
            spanned = int.from_bytes(data[bit >> 3 : (end + 7) >> 3], "big")
            words = (spanned >> (-end & 7) & ((1 << 8 * length) - 1)).to_bytes(length, "big")
            alpha[first:last] = words[3 - done % 4 :: 4]
        elif value := window >> (53 - field) & 255:
            alpha[first:last] = bytes((value,)) * (last - first)
        done, bit = done + length, end
    return np.frombuffer(alpha, dtype=np.uint8).reshape(height, width)


def encode(alpha: Alpha) -> list[int]:
    """Encode an alpha plane as Label Studio does; `decode` gives the plane back exactly.

    Red, green and blue repeat alpha, as in Label Studio's own converter.

    Args:
        alpha: (H, W) uint8.

    Raises:
        AnnotationError: the plane has no pixels, or more than an image may have.
    """
    height, width = alpha.shape
    _check_size(height, width)
    flat = alpha.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(starts, append=flat.size) * 4
    pieces = -(-lengths // 2**16)
    words = np.repeat(flat[starts], pieces)
    counts = np.full(words.size, 2**16, dtype=np.int64)
    counts[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * 2**16
    choice = np.searchsorted([1 << size for size in _FIELDS], counts)
    field = np.array(_FIELDS)[choice]
    run_bits = 3 + field + 8
    runs = (((4 | choice) << field | (counts - 1)) << 8 | words) << (32 - run_bits)
    unpacked = np.unpackbits(runs.astype(">u4").view(np.uint8)).reshape(-1, 32)  # left-aligned
    header = f"{flat.size * 4:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in _FIELDS)
    bits = (np.array(list(header), dtype=np.uint8), unpacked[np.arange(32) < run_bits[:, None]])
    code: list[int] = np.packbits(np.concatenate(bits)).tolist()
    return code


def _read_header(data: bytes, height: int, width: int) -> tuple[int, ...]:
    _check_size(height, width)
    if 8 * len(data) < _HEADER_BITS:
        raise AnnotationError(f"run-length code: breaks off in its header, after {len(data)} bytes")
    header = int.from_bytes(data[:7], "big") >> (56 - _HEADER_BITS)
    claimed, word = header >> 21, (header >> 16 & 31) + 1
    if claimed != height * width * 4:
        raise AnnotationError(
            f"run-length code: expected {height * width * 4} values for an image of {width} x "
            f"{height} pixels with 4 channels, got a code that claims {claimed}"
        )
    if word != 8:
        raise AnnotationError(f"run-length code: expected words of 8 bits, got {word}")
    return tuple((header >> shift & 15) + 1 for shift in (12, 8, 4, 0))


def _check_size(height: int, width: int) -> None:
    if not (0 < height * width <= MAX_PIXELS and height > 0):
        raise AnnotationError(
            f"run-length code: expected an image of 1 to {MAX_PIXELS} pixels, got {width} x "
            f"{height}"
        )
