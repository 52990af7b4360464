"""`compare`: models x samplers x steps, beside the exact denoiser, into tables, figures and one page.

`command` reads the command line, `contestants` and `samplers` say who is compared with what, `grid` evaluates, `store`
keeps what is done, `tables` and `page` tell it. Nothing is imported here, so that `compare --help` answers at once.
"""
