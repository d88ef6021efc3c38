-- KEYS[1] the turn   ARGV[1] what it holds while it is ours   ARGV[2] what it shall hold, '' for nothing
-- ARGV[3] for how long (ms)
-- Returns 1 when it was ours, 0 when it ran out before.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
