-- ARGV[5]     the group
-- ARGV[6..]   ids
-- Returns ms until each is leased at the earliest: 0 when leased or overdue, -1 when not scheduled.

local group = ARGV[5]
local hold = tonumber(call('HGET', key('meta', group), 'hold') or 0)
local waits = {}
for i = 6, #ARGV do
  local at = tonumber(call('ZSCORE', key('due', group), ARGV[i]))
  local wait = -1
  if at then
    wait = math.max(math.ceil(math.max(at, hold) - now), 0)
  elseif call('ZSCORE', key('running', group), ARGV[i]) then
    wait = 0
  end
  waits[#waits + 1] = wait
end
return waits
