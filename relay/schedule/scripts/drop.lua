-- ARGV[5]     the group
-- ARGV[6..]   ids
-- Returns how many were known.

local group = ARGV[5]
local dropped = 0
for i = 6, #ARGV do
  local id = ARGV[i]
  if call('ZREM', key('due', group), id) == 1 then
    due_count = due_count - 1
    dropped = dropped + 1
  elseif call('ZSCORE', key('running', group), id) then
    end_lease(group, id)
    dropped = dropped + 1
  end
  call('HDEL', key('memo', group), id)
end
mind_expiry(group)
place(group)
keep_state()
return dropped
