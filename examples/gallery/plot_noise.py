"""
One distribution, less and less noise
=====================================

The exact noisy density of the checkerboard, and its score. At high noise the score points to the centre; the squares
appear at noise levels near half of their side.
"""

from toy_score import VE, Checkerboard, ExactDenoiser
from toy_score.plotting import vector_field

exact = ExactDenoiser(Checkerboard(), VE(sigma_min=0.01, sigma_max=20.0))
figure = vector_field(
    exact, None, sigmas=[2.0, 0.5, 0.15], bounds=3.0, title="The score of the checkerboard", arrows=19
)
