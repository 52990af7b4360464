"""The equation of continuity, for tests of flows."""

from toy_score.backbones import jacobian


def continuity_terms(log_prob, slope, score, x, t, h=1e-5):
    """`d log p / dt + div u + u . score`."""
    in_time = (log_prob(x, t + h) - log_prob(x, t - h)) / (2 * h)
    u, J = jacobian(lambda z: slope(z, t), x)
    return in_time + J[:, 0, 0] + J[:, 1, 1] + (u * score(x, t)).sum(dim=1)


def continuity(log_prob, slope, score, x, t):
    """The largest of these terms, which are 0 if the slope carries the density along."""
    return continuity_terms(log_prob, slope, score, x, t).abs().max().item()
