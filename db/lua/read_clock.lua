-- ARGV: time of a test or ''. Returns the site's clocks: fast, slow.
return {site_clocks(ARGV[1])}
