-- ARGV[5..]   group, id of each pair
-- Returns the places (from 0) of those that are neither due nor leased.

local missing = {}
for i = 5, #ARGV, 2 do
  local group, id = ARGV[i], ARGV[i + 1]
  if not call('ZSCORE', key('due', group), id) and not call('ZSCORE', key('running', group), id) then
    missing[#missing + 1] = (i - 5) / 2
  end
end
return missing
