-- ARGV[5]     the group
-- ARGV[6]     the channel that wakes sleepers
-- ARGV[7..]   'hold' ms · 'release' · 'limit' interval burst concurrency version · 'restart_rate'

local group, meta = ARGV[5], key('meta', ARGV[5])

local verbs = {
  hold = function(ms)
    local before = tonumber(call('HGET', meta, 'hold') or 0)
    call('HSET', meta, 'hold', math.max(before, now + tonumber(ms)))
  end,
  release = function()
    call('HDEL', meta, 'hold')
  end,
  limit = function(interval, burst, concurrency, version)
    call('HSET', meta, 'interval', interval, 'burst', burst, 'concurrency', concurrency, 'version', version)
  end,
  restart_rate = function()
    call('HDEL', meta, 'tat')
  end,
}

verbs[ARGV[7]](unpack(ARGV, 8))
if place(group) then call('PUBLISH', ARGV[6], '') end
keep_state()
return 1
