-- Postgres has acknowledged a mark of this store, and it was not behind it.
-- ARGV: store, count
if redis.call('HGET', 'witness', 'store') ~= ARGV[1] then
    return 0
end
local recorded = redis.call('HGET', 'witness', 'recorded')
if not recorded or tonumber(recorded) < tonumber(ARGV[2]) then
    redis.call('HSET', 'witness', 'recorded', ARGV[2])
end
local run = this_run()
if redis.call('HGET', 'witness', 'checked') ~= run then
    redis.call('HSET', 'witness', 'checked', run)
end
return 1
