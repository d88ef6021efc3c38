-- ARGV[5]     for how long from now (ms)
-- ARGV[6..]   group, id, fence of each lease
-- Returns the places (from 0) of those that are no longer held.

local expires = now + tonumber(ARGV[5])
local lost = {}

call('PERSIST', STATE) -- changes nothing, but lets a full server take the renewals, which make it no fuller

for i = 6, #ARGV, 3 do
  local group, id = ARGV[i], ARGV[i + 1]
  if call('HGET', key('fence', group), id) == ARGV[i + 2] then
    call('ZADD', key('running', group), expires, id)
    local bound = tonumber(call('ZSCORE', EXPIRY, group))
    if not bound or expires < bound then call('ZADD', EXPIRY, expires, group) end
  else
    lost[#lost + 1] = (i - 6) / 3
  end
end
keep_state()
return lost
