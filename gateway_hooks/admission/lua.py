"""What the admission scripts have in common."""


def lean(script: str) -> str:
    """Without comments and indentation: a script in a pipeline travels with every call."""
    lines = (line.strip() for line in script.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("--"))


START = """
local call = redis.call
local wire = cmsgpack.unpack(ARGV[1])
local now, last_key = wire.now_ms, 0
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function key() last_key = last_key + 1 return KEYS[last_key] end
"""
"""Lua: the arguments as ``wire``, the time as ``now`` (ms), and the keys one after the other."""
