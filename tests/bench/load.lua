-- For wrk: the arguments behind "--" are the depth of pipelining and header fields; at the end one line of JSON.

local requests

function init(args)
    local depth = tonumber(args[1] or "1")
    for i = 2, #args do
        local name, value = args[i]:match("^([^:]+): *(.*)$")
        wrk.headers[name] = value
    end
    requests = wrk.format():rep(depth)
end

function request()
    return requests
end

function done(summary, latency, _)
    local e = summary.errors
    io.write(string.format(
        'RESULT {"requests": %d, "bytes": %d, "seconds": %.6f, "p50_us": %.0f, "p99_us": %.0f, "p999_us": %.0f, '
            .. '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
        summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        latency:percentile(99.9), e.connect, e.read, e.write, e.status, e.timeout))
end
