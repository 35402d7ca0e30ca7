"""Generated sequences of symbols. A symbol is a channel: sequences are one-hot tensors (B, C, T) of float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

MOTIF = 4  # symbols of a motif


def one_hot(symbols: Tensor, count: int) -> Tensor:
    """Maps whole numbers (B, T) below `count` to (B, count, T)."""
    return functional.one_hot(symbols, count).transpose(1, 2).float().contiguous()


def which_came_first(
    draw: torch.Generator, batch: int, length: int, lags: Sequence[int], distractors: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws two marks side by side, A and B in either order, and distractors everywhere else; the last step asks.

    Both are near the same lag, which is drawn evenly from `lags` (2 or more): a network that saw the later mark alone
    would know which one came before it.

    Returns:
        x (B, distractors + 3, T), the class (B,), 0 where A came first, and the lag (B,) of the first mark, counted
        back from the last step.
    """
    a, b, asked = distractors, distractors + 1, distractors + 2
    symbols = torch.randint(distractors, (batch, length), generator=draw)
    lag = torch.tensor(lags)[torch.randint(len(lags), (batch,), generator=draw)]
    first = torch.randint(2, (batch,), generator=draw)
    rows = torch.arange(batch)
    symbols[rows, length - 1 - lag] = torch.where(first == 0, a, b)
    symbols[rows, length - lag] = torch.where(first == 0, b, a)
    symbols[:, length - 1] = asked
    return one_hot(symbols, distractors + 3), first, lag


def recall(
    draw: torch.Generator, batch: int, *, kinds: int, slots: int, counts: Sequence[int], delays: Sequence[int],
    distractors: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Draws symbols to be repeated after a delay that is filled with distractors.

    The last `slots` steps ask for the first symbol, the second and so on; the symbols come in the same order `delay`
    steps before. How many there are is drawn evenly from `counts`, the delay from `delays`; what is not used of the
    slots are distractors, and so is everything before.

    Returns:
        x (B, kinds + distractors + slots, T) with T = 2 · slots + the longest delay; the symbols (B, slots); how many
        of them are asked for (B,); the delay (B,).
    """
    length = 2 * slots + max(delays)
    steps = kinds + torch.randint(distractors, (batch, length), generator=draw)
    symbols = torch.randint(kinds, (batch, slots), generator=draw)
    count = torch.tensor(counts)[torch.randint(len(counts), (batch,), generator=draw)]
    delay = torch.tensor(delays)[torch.randint(len(delays), (batch,), generator=draw)]
    rows = torch.arange(batch)
    for slot in range(slots):
        used = slot < count
        steps[rows[used], (length - 2 * slots - delay + slot)[used]] = symbols[used, slot]
        steps[used, length - slots + slot] = kinds + distractors + slot
    return one_hot(steps, kinds + distractors + slots), symbols, count, delay


def two_levels(
    draw: torch.Generator, batch: int, *, length: int, part: int, gap: tuple[int, int], letters: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Draws from a grammar of two levels: four parts, each a word of `part` letters, and four objects of two parts.

    Objects are part 0 or 1 and then part 2 or 3: either part leaves two objects open, so that the object takes both.
    (If a part were in one object alone at its place, a probe of the object would be one of that part.) Between the
    two lies a gap of noise of `gap` [shortest, longest] letters, around them noise up to `length`.

    Returns:
        x (B, letters, T), the object (B,), its parts (B, 2), and the steps (B, 2) at which they end.
    """
    words = torch.tensor(
        [[(3 * word + 2 * place + word * place) % letters for place in range(part)] for word in range(4)]
    )
    pairs = torch.tensor([[0, 2], [0, 3], [1, 2], [1, 3]])
    symbols = torch.randint(letters, (batch, length), generator=draw)
    kind = torch.randint(4, (batch,), generator=draw)
    between = torch.randint(gap[0], gap[1] + 1, (batch,), generator=draw)
    room = length - 2 * part - gap[1]
    start = torch.randint(room + 1, (batch,), generator=draw)
    rows = torch.arange(batch)
    second = start + part + between
    for place in range(part):
        symbols[rows, start + place] = words[pairs[kind, 0], place]
        symbols[rows, second + place] = words[pairs[kind, 1], place]
    ends = torch.stack([start, second], dim=1) + part - 1
    return one_hot(symbols, letters), kind, pairs[kind], ends


def ordered_motifs(draw: torch.Generator, batch: int, length: int, motif: int) -> tuple[Tensor, Tensor]:
    """Draws two motifs of `motif` steps in noise, one after the other; the class is which of them comes first.

    Returns x (B, 1, T), noise of deviation 1 with a rising and a falling ramp from -2 to 2 in it, and the class (B,).
    """
    x = torch.randn(batch, 1, length, generator=draw)
    ramp = torch.linspace(-2, 2, motif)
    first = torch.randint(2, (batch,), generator=draw)
    starts = torch.randint(length // 2 - motif + 1, (batch, 2), generator=draw)
    for row, (one, two) in enumerate(starts.tolist()):
        rising, falling = (one, length // 2 + two) if first[row] == 0 else (length // 2 + two, one)
        x[row, 0, rising : rising + motif] = ramp
        x[row, 0, falling : falling + motif] = -ramp
    return x, first


def regimes(draw: torch.Generator, batch: int, length: int, strength: float) -> tuple[Tensor, Tensor]:
    """Draws autoregressions of order 1 that differ in the sign of their memory: x (B, 1, T) and the class (B,).

    All have variance 1, so that single values carry no information on the class.
    """
    kind = torch.randint(2, (batch,), generator=draw)
    memory = torch.where(kind == 0, strength, -strength)
    noise = torch.randn(length, batch, generator=draw)
    steps = [noise[0]]
    for step in range(1, length):
        steps.append(memory * steps[-1] + (1 - strength**2) ** 0.5 * noise[step])
    return torch.stack(steps, dim=1)[:, None], kind


def last_word(draw: torch.Generator, batch: int, length: int, distractors: int, word: int) -> tuple[Tensor, Tensor]:
    """Draws noise that ends in one of two words of `word` letters; the second word is the first one backwards.

    Returns x (B, distractors + 3, T), with the symbols of `which_came_first`, and the word (B,).
    """
    symbols = torch.randint(distractors, (batch, length), generator=draw)
    kind = torch.randint(2, (batch,), generator=draw)
    letters = torch.arange(word) % distractors
    symbols[:, length - word :] = torch.where(kind[:, None] == 0, letters, letters.flip(0))
    return one_hot(symbols, distractors + 3), kind


def motif_in_half(draw: torch.Generator, count: int, length: int, half: int, symbols: int) -> tuple[Tensor, Tensor]:
    """Draws one of two motifs at a random place of the first (0) or second (1) half of random symbols.

    The motifs are the symbols 0 1 2 3 and 3 2 1 0, so that they differ in their order alone.

    Returns:
        x (count, symbols, length) and the class (count,), 0 for the rising motif.
    """
    motifs = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])
    noise = torch.randint(symbols, (count, length), generator=draw)
    falling = torch.randint(2, (count,), generator=draw)
    begin = half * (length // 2) + torch.randint(length // 2 - MOTIF + 1, (count,), generator=draw)
    noise.scatter_(1, begin[:, None] + torch.arange(MOTIF), motifs[falling])
    return one_hot(noise, symbols), falling


def running_count(draw: torch.Generator, batch: int, length: int, modulus: int) -> tuple[Tensor, Tensor]:
    """Draws random bits, and gives at every step the number of ones so far modulo `modulus` (2: their parity).

    Returns:
        x (batch, 2, length) and the class (batch, length) of every step.
    """
    bits = torch.randint(2, (batch, length), generator=draw)
    return one_hot(bits, 2), bits.cumsum(1) % modulus
