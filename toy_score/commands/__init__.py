"""The commands: one file each, and what they share.

A command reads its words (`arguments`), merges the settings of a checkpoint, of configs and of flags as plain values
(`settings`, `complete`), and builds model, data and trainer of them once (`build`).
"""
