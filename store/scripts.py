"""Changes to the records of jobs, as Lua scripts: Redis runs each as a whole or not at all.

Keys, in the order in which the scripts get them:

    stenobus:job:<id>      hash, the record; it expires
    stenobus:jobs          sorted set, all scores 0: `<created_at>/<id>`, so in order of creation
    stenobus:jobs:expiry   sorted set: the same entries by the time at which their record expires, in ms
    stenobus:erasures      sorted set: ids of erased jobs by the time of their next sweep, in ms

Each write of a record also removes a few entries whose record has expired, so that the index needs no other cleaning.
"""

from __future__ import annotations

RECORD = "stenobus:job:"
BY_CREATION = "stenobus:jobs"
BY_EXPIRY = "stenobus:jobs:expiry"
ERASURES = "stenobus:erasures"

_INDEX = """
local record, by_creation, by_expiry, erasures = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, now, lifetime = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function enter(record, id, lifetime)
    local created = redis.call('HGET', record, 'created_at')
    if created then
        redis.call('ZADD', by_creation, 0, created .. '/' .. id)
        redis.call('ZADD', by_expiry, now + lifetime, created .. '/' .. id)
    end
end

local function remove(entry)
    redis.call('ZREM', by_creation, entry)
    redis.call('ZREM', by_expiry, entry)
end

local function keep()
    redis.call('PEXPIRE', record, lifetime)
    enter(record, id, lifetime)
    for _, entry in ipairs(redis.call('ZRANGEBYSCORE', by_expiry, '-inf', now, 'LIMIT', 0, 16)) do
        local left = redis.call('PTTL', 'stenobus:job:' .. string.match(entry, '[^/]*$'))
        if left == -2 then
            remove(entry)
        else
            -- The clock of the machine that wrote it was behind; a record without expiry is checked again tomorrow.
            redis.call('ZADD', by_expiry, now + (left == -1 and 86400000 or left + 1), entry)
        end
    end
end
"""

# ARGV of each begins with the job's id, the time in ms and the lifetime of its record in ms; a comment names the rest.
CREATE = f"""{_INDEX}
-- token, field, value, ...
if redis.call('EXISTS', record) == 1 then return redis.call('HGET', record, 'token') == ARGV[4] end
redis.call('HSET', record, 'token', unpack(ARGV, 4))
keep()
return true
"""

ADVANCE = f"""{_INDEX}
-- state, time, each state that is earlier than it
local held = redis.call('HGET', record, 'state')
if not held or held == 'deleted' then return held end
for i = 6, #ARGV do
    if ARGV[i] == held then
        redis.call('HSET', record, 'state', ARGV[4], 'updated_at', ARGV[5])
        held = ARGV[4]
        break
    end
end
keep()
return held
"""

FINISH = f"""{_INDEX}
-- time, options, field, value, ...
if redis.call('HGET', record, 'state') == 'deleted' then return 'deleted' end
redis.call('HSETNX', record, 'created_at', ARGV[4])
redis.call('HSETNX', record, 'completed_at', ARGV[4])
redis.call('HSETNX', record, 'options', ARGV[5])
redis.call('HSET', record, 'state', 'completed', 'updated_at', ARGV[4], unpack(ARGV, 6))
keep()
return 'completed'
"""

CACHE = """
-- Only of a finished job; its expiry stays. ARGV: field, value, ...
if redis.call('HGET', KEYS[1], 'state') == 'completed' then redis.call('HSET', KEYS[1], unpack(ARGV)) end
"""

ERASE = f"""{_INDEX}
-- time, when to sweep, whether the job was settled. A tombstone that is already there keeps both times.
if redis.call('HGET', record, 'state') ~= 'deleted' then
    local created = redis.call('HGET', record, 'created_at')
    if created then remove(created .. '/' .. id) end
    redis.call('DEL', record)
    redis.call('HSET', record, 'state', 'deleted', 'updated_at', ARGV[4], 'deleted_at', ARGV[4], 'settled', ARGV[6])
end
redis.call('HSET', record, 'sweeps', 0)
redis.call('PEXPIRE', record, lifetime)
redis.call('ZADD', erasures, ARGV[5], id)
"""

CLAIM = """
-- KEYS: erasures. ARGV: the time in ms, when the claims end, how many at most.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[2], id) end
return due
"""

SWEPT = """
-- KEYS: the job, erasures. ARGV: id, how many sweeps are done, when the next one is due (empty: never).
if ARGV[3] == '' or redis.call('HGET', KEYS[1], 'state') ~= 'deleted' then
    return redis.call('ZREM', KEYS[2], ARGV[1])
end
redis.call('HSET', KEYS[1], 'sweeps', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
"""

ADOPT = f"""{_INDEX}
-- ids of records that may not be in the index yet. The first and the third of ARGV are not used.
for i = 4, #ARGV do
    local found = 'stenobus:job:' .. ARGV[i]
    local left = redis.call('PTTL', found)
    if left ~= -2 then enter(found, ARGV[i], left == -1 and 86400000 or left) end
end
"""


def index_keys(job_id: str) -> list[str]:
    """The keys of the scripts that change the index."""
    return [RECORD + job_id, BY_CREATION, BY_EXPIRY, ERASURES]
