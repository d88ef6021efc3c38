-- Returns how many ids could be leased now (of the first groups in the queue), and for how long (ms) the
-- oldest that could be served has not been.

local GROUPS_MAX = 1000

local count = 0
local function add(groups)
  for _, group in ipairs(groups) do count = count + call('ZCOUNT', key('due', group), '-inf', now) end
end
add(call('ZRANGE', TURN, 0, GROUPS_MAX - 1))
add(call('ZRANGEBYSCORE', LATER, '-inf', now, 'LIMIT', 0, GROUPS_MAX))

local oldest = now
local queued = first_of(TURN)
if queued then oldest = math.min(oldest, queued / 1000) end
oldest = math.min(oldest, first_of(LATER) or now, first_of(EXPIRY) or now)
return {count, math.floor(now - oldest)}
