"""Which photos look alike, told by one vector per photo: VLAD (Jegou et al. 2010).

Describing costs the same for every photo, however many there are; comparing two photos is one dot
product.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

WORDS = 64
TRAINING = 16_000
"""Descriptors from which the words are learnt."""
ROUNDS = 10


def likely_partners(
    descriptors: list[Float[Tensor, "_ 128"]], count: int
) -> Int[np.ndarray, "photo partner"]:
    """For each photo the `count` others that look most like it, best first.

    Args:
        descriptors: Unit descriptors of each photo.
        count: Fewer where there are fewer other photos.
    """
    words = _learn_words(descriptors)
    vectors = np.stack([_describe(part.numpy(), words) for part in descriptors])
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(-likeness, axis=1, kind="stable")[:, : min(count, len(vectors) - 1)]


def _learn_words(descriptors: list[Float[Tensor, "_ 128"]]) -> Float[np.ndarray, "word 128"]:
    """Lloyd's k-means from evenly spread descriptors; a word that wins none stays where it is."""
    stacked = torch.cat(descriptors).numpy()
    samples = stacked[:: max(len(stacked) // TRAINING, 1)]
    if len(samples) <= WORDS:
        return samples
    words = samples[:: max(len(samples) // WORDS, 1)][:WORDS].copy()
    for _ in range(ROUNDS):
        nearest = _nearest_word(samples, words)
        for word in range(len(words)):
            if (nearest == word).any():
                words[word] = samples[nearest == word].mean(axis=0)
    return words


def _nearest_word(
    descriptors: Float[np.ndarray, "n 128"], words: Float[np.ndarray, "word 128"]
) -> Int[np.ndarray, " n"]:
    return np.argmax(descriptors @ words.T - 0.5 * (words**2).sum(axis=1), axis=1)


def _describe(
    descriptors: Float[np.ndarray, "n 128"], words: Float[np.ndarray, "word 128"]
) -> Float[np.ndarray, " size"]:
    """Sums of what each word's descriptors differ from it, each of length 1 (Arandjelovic 2013)."""
    summed = np.zeros_like(words)
    if not len(descriptors):
        return summed.ravel()
    nearest = _nearest_word(descriptors, words)
    np.add.at(summed, nearest, descriptors - words[nearest])
    length = np.linalg.norm(summed, axis=1, keepdims=True)
    summed = np.divide(summed, length, out=np.zeros_like(summed), where=length > 0)
    return summed.ravel() / np.sqrt(max(np.count_nonzero(length), 1))
