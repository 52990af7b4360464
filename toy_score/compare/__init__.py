"""`compare`: models x samplers x steps, beside the exact denoiser, into tables, figures and one page.

`command` reads the command line, `contestants` and `samplers` list what is compared, `grid` evaluates it, `store` saves
the results, `tables` and `page` show them. Nothing is imported here, so `compare --help` is fast.
"""
