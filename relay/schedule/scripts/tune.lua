-- ARGV[5]     the group
-- ARGV[6]     the channel that wakes sleepers
-- ARGV[7..]   'hold' ms then (0: as many at once afterwards as before) · 'release' · 'restart_rate' ·
--             'limit' interval burst concurrency version first (0: all at once)

local group, meta = ARGV[5], key('meta', ARGV[5])

local verbs = {
  hold = function(ms, afterwards)
    local before = tonumber(call('HGET', meta, 'hold') or 0)
    call('HSET', meta, 'hold', math.max(before, now + tonumber(ms)))
    if afterwards ~= '0' then call('HSET', meta, 'allowance', afterwards) end
  end,
  release = function()
    call('HDEL', meta, 'hold')
  end,
  limit = function(interval, burst, concurrency, version, first)
    local before = tonumber(call('HGET', meta, 'interval') or 0)
    call('HSET', meta, 'interval', interval, 'burst', burst, 'concurrency', concurrency, 'version', version)
    -- What was used under a slower rate would forbid everything for long under a quicker one. The same limits again
    -- forgive nothing: what was reserved is beyond the burst.
    local tat, most = tonumber(call('HGET', meta, 'tat') or 0), now + interval * burst
    if before ~= tonumber(interval) and tat > most then call('HSET', meta, 'tat', most) end
    if first ~= '0' then call('HSETNX', meta, 'allowance', first) end
  end,
  restart_rate = function()
    call('HDEL', meta, 'tat')
  end,
}

verbs[ARGV[7]](unpack(ARGV, 8))
if place(group) then call('PUBLISH', ARGV[6], '') end
keep_state()
return 1
