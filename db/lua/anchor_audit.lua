-- Remembers the end of the audit trail outside of Postgres. It only goes forward, unless from what the caller has compared
-- with the trail.
-- KEYS: audit end
-- ARGV: number the caller has compared, or '', number and hash of the end now
local known = redis.call('HGET', KEYS[1], 'number')
if not known or known == ARGV[1] or tonumber(known) < tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], 'number', ARGV[2], 'hash', ARGV[3])
end
