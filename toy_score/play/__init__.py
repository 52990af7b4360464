"""`play`: one page with a model to play with, in any browser, without a server.

`export` describes distributions, networks and samplers as plain values, `page` puts them with the JavaScript into one
file, `command` reads the command line. The mathematics is in `special.js`, `distributions.js`, `schedules.js`,
`networks.js`, `samplers.js` and `measure.js`, and agrees with torch; `view.js` and `app.js` draw. Nothing is imported
here, so `play --help` is fast.
"""
