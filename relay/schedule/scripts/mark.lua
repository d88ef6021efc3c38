-- KEYS[1] the sentinel   ARGV[1] what it must hold now   ARGV[2] what it shall hold
-- Returns 1 when it was so, 0 when somebody flushed it in between.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
