-- ARGV: time of a test or ''. Returns the site's fast clock.
return (site_clocks(ARGV[1]))
