"""The SwAV loss written literally from the paper's pseudo-code: slow loops, the oracle of the tests."""

import math


def sinkhorn(scores, epsilon, iterations):
    """Alternately scale columns (prototypes) to 1/K and rows (samples) to 1/B; rows are returned summing to 1."""
    samples, prototypes = len(scores), len(scores[0])
    weights = [[math.exp(score / epsilon) for score in row] for row in scores]
    total = sum(map(sum, weights))
    weights = [[value / total for value in row] for row in weights]
    for _ in range(iterations):
        for column in range(prototypes):
            mass = sum(row[column] for row in weights)
            for row in weights:
                row[column] /= mass * prototypes
        for row in weights:
            mass = sum(row)
            row[:] = [value / (mass * samples) for value in row]
    return [[value * samples for value in row] for row in weights]


def loss(scores, past, *, temperature, epsilon, iterations, large):
    """Mean over (large view, other view) pairs and samples of the cross-entropy of the swapped prediction.

    scores: [view][sample][prototype]; past: [large view][sample][prototype], scores of the queue or empty lists.
    """
    terms = []
    for view in range(large):
        balanced = sinkhorn(past[view] + scores[view], epsilon, iterations)[len(past[view]) :]
        for other in range(len(scores)):
            if other == view:
                continue
            for target, prediction in zip(balanced, scores[other], strict=True):
                normaliser = math.log(sum(math.exp(score / temperature) for score in prediction))
                terms.append(
                    -sum(
                        weight * (score / temperature - normaliser)
                        for weight, score in zip(target, prediction, strict=True)
                    )
                )
    return sum(terms) / len(terms)
