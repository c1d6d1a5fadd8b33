---@meta evserve
--- Annotations of the Lua API for LuaLS (lua-language-server), which finds them through .luarc.json. This file never runs.
--- lua/README.md tells more; a test checks that both sides name the same functions and settings.

---@class evserve
local app = {}

--- A whole number of milliseconds, or text with a unit: "500ms", "30s", "2m", "1h".
---@alias evserve.Duration integer|string

--- A number of bytes, or text with a unit: "64K", "1M", "1G".
---@alias evserve.Size integer|string

--- Any token but CONNECT; in a route "*" is every method.
---@alias evserve.Method "GET"|"HEAD"|"POST"|"PUT"|"PATCH"|"DELETE"|"OPTIONS"|"*"|string

--- Name to value, or to a list of values, each of which becomes a field line of its own.
---@alias evserve.Headers table<string, string|number|(string|number)[]>

--- text/plain, JSON, a stream, a response object, or nothing (204).
---@alias evserve.Body string|table|fun(out: evserve.Stream)|evserve.Response|nil

--- Returns [status,] body [, headers].
---@alias evserve.Handler fun(req: evserve.Request): (integer|evserve.Body), (evserve.Body|evserve.Headers)?, evserve.Headers?

---@class evserve.Request
---@field method evserve.Method
---@field path string decoded and normalised
---@field target string as it was sent
---@field params table<string, string> parameters of the route, decoded
---@field query table<string, string> decoded; of a repeated name the first value
---@field headers table<string, string> names in any case; repeated fields are joined; host is the authority of a target in absolute-form
---@field cookies table<string, string> as they were sent; of a repeated name the first value
---@field body string the whole body, "" when there is none; waits for what has not arrived
---@field peer string "127.0.0.1:40312"
---@field id string unique; log it, and tell it to the client
---@field [string] any what the script keeps with the request
local request = {}

--- The value of all header fields of that name, in any case, joined; nil when there is none.
---@param name string
---@return string?
function request:header(name) end

--- All values of a name in the query, decoded.
---@param name string
---@return string[]
function request:query_all(name) end

--- The body as it comes, in pieces of at most 64 KiB: for chunk in req:chunks() do ... end. Waits.
---@return fun(): string?
function request:chunks() end

--- The value of a JSON body. Raises 400 for what is no JSON and 415 for what is not called so, see app.error.
---@return any
function request:json() end

--- The fields of a form, urlencoded or multipart; of a repeated name the first value. Files are strings too.
---@return table<string, string>
function request:form() end

--- All values of a name in a form.
---@param name string
---@return string[]
function request:form_all(name) end

--- The parts of a multipart form as they come: for part in req:parts() do ... end. Waits.
---@return fun(): evserve.Part?
function request:parts() end

---@class evserve.Part
---@field name string
---@field filename string? of a file; whatever the client likes, so never a path to write to
---@field type string? its Content-Type
---@field headers table<string, string> names in any case
local part = {}

--- The content as it comes, in pieces of at most 64 KiB. Waits.
---@return fun(): string?
function part:chunks() end

--- All of the content.
---@return string
function part:text() end

---@class evserve.Response
---@field status integer? nil for app.file and app.pass: the file decides
---@field headers evserve.Headers names in any case
---@field body evserve.Body nil for app.file and app.pass; one that is set takes the file's place
local response = {}

--- Add a Set-Cookie line.
---@param name string
---@param value string|number
---@param attributes evserve.CookieAttributes?
---@return evserve.Response itself
function response:set_cookie(name, value, attributes) end

---@class evserve.Stream
local stream = {}

--- Send text; waits while the client is behind, and counts as a wait for handler_cpu. Once the client has gone: nil, "closed"; a further call ends the stream.
---@param ... string|number
---@return true?
---@return "closed"?
function stream:write(...) end

---@class evserve.Timer
local timer = {}

--- Whether it was still set.
---@return boolean
function timer:cancel() end

---@class evserve.Settings
---@field idle_timeout? evserve.Duration how long a kept-alive connection may stay without a request
---@field header_timeout? evserve.Duration how long a request head may take, from its first byte to its last
---@field body_timeout? evserve.Duration how long a request body may make no progress
---@field min_body_rate? evserve.Size bytes a second of a request body, once body_timeout is over; slower is 408
---@field write_timeout? evserve.Duration how long a client may take no byte of an answer that waits for it
---@field handler_timeout? evserve.Duration how long a handler may keep its client waiting before its response begins; then 503; 0 for ever
---@field stream_timeout? evserve.Duration how long a response that has begun may bring nothing more; then it is cut; 0 for ever
---@field tcp_keepalive? evserve.Duration silence of a TCP client after which the kernel asks whether it is still there; one that is gone is noticed after twice that time; at least a second; 0 never asks
---@field max_request_line? evserve.Size request line with its CRLF; longer is 414
---@field max_header_bytes? evserve.Size field lines of a request in total; more is 431
---@field max_fields? integer field lines of a request; more is 431
---@field max_body? evserve.Size request body; more is 413
---@field max_drain? evserve.Size unwanted request body that is read to keep the connection
---@field max_connections? integer open connections; at the limit the one idle longest makes room, or the new one gets 503
---@field max_connections_per_address? integer open connections of one IPv4 address or IPv6 /64, likewise; 0 for as many as max_connections
---@field write_high_mark? evserve.Size queued answer bytes above which no request is read
---@field write_cap? evserve.Size queued answer bytes a client may owe before it is cut
---@field max_cached_files? integer files kept ready in the file cache
---@field max_cached_file? evserve.Size largest file whose contents the file cache holds in memory
---@field max_cached_memory? evserve.Size contents of all files that the file cache holds in memory
---@field list_max? integer entries of a directory that a listing shows, the first ones in order
---@field handler_cpu? evserve.Duration processor time a handler may take between two waits; more is 503
---@field lua_memory? evserve.Size memory of the Lua state; what needs more is 503
---@field debug? boolean error answers show what went wrong, to the client too
---@field trailing_slash? "strict"|"redirect"|"ignore" "/a/" where only "/a" is a route: another path, sent there, the same

--- A route's name, for app.url, and limits of its own. Limits that are not named are as app.set has them.
---@class evserve.RouteOptions
---@field body_timeout? evserve.Duration how long a request body may make no progress
---@field min_body_rate? evserve.Size bytes a second of a request body, once body_timeout is over; slower is 408
---@field write_timeout? evserve.Duration how long a client may take no byte of an answer that waits for it
---@field handler_timeout? evserve.Duration how long the handler may keep its client waiting before its response begins; then 503; 0 for ever
---@field stream_timeout? evserve.Duration how long a response that has begun may bring nothing more; then it is cut; 0 for ever
---@field max_body? evserve.Size request body; more is 413
---@field max_drain? evserve.Size unwanted request body that is read to keep the connection
---@field write_high_mark? evserve.Size queued answer bytes above which no request is read
---@field write_cap? evserve.Size queued answer bytes a client may owe before it is cut
---@field handler_cpu? evserve.Duration processor time a handler may take between two waits; more is 503
---@field jit? boolean let LuaJIT compile the function, which has no deadline then
---@field half_close? boolean a client that shuts down its side of the connection (FIN) still gets a late response
---@field name? string for app.url

---@class evserve.StaticOptions
---@field cache? string|0 Cache-Control: max-age, such as "1h"; 0 or nothing sends none
---@field dotfiles? boolean serve files and directories whose name begins with a dot
---@field fallback? string file below the directory that is served for what is not found: single-page apps
---@field headers? evserve.Headers fields for every answer, errors and OPTIONS too
---@field index? string|string[]|false files that stand for their directory; "index.html" if not given, false for none
---@field list? boolean list directories that have no index file
---@field not_found? string file below the directory that is the content of every 404
---@field precompressed? boolean serve file.br, file.zst and file.gz in place of file; true if not given
---@field types? table<string, string> media types by extension: { wasm = "application/wasm" }

---@class evserve.Stats
---@field accepted integer connections accepted
---@field connections integer connections open now
---@field requests integer answers begun
---@field by_class table<string, integer> of them by class of status: "1xx" to "5xx"
---@field bytes_sent integer to clients, heads and framing included
---@field bytes_received integer from clients
---@field timeouts integer connections closed by a deadline
---@field lost integer connections that ended in an error
---@field lua_memory integer bytes that the Lua state holds
---@field uptime number seconds since the start

--- "0.1.0"
---@type string
app.version = ""

--- Listen on an address: "127.0.0.1:8080", "[::1]:8080", ":8080", "unix:/run/x.sock", "unix:@name", "fd:3". May be called several times.
---@param address string
function app.listen(address) end

--- Change limits and timeouts.
---@param settings evserve.Settings
function app.set(settings) end

--- Serve the files of a directory, which is relative to the directory that evserve was started in.
---@param prefix string
---@param directory string
---@param options evserve.StaticOptions?
function app.static(prefix, directory, options) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.get(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.head(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.post(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.put(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.patch(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.delete(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.options(path, options, handler) end

--- A route for every method.
---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.any(path, options, handler) end

---@param methods evserve.Method|evserve.Method[]
---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(methods: evserve.Method|evserve.Method[], path: string, handler: evserve.Handler)
function app.route(methods, path, options, handler) end

--- Routes under a prefix, with middleware of their own.
---@class evserve.Group
local group = {}

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function group.get(path, options, handler) end

group.head, group.post, group.put, group.patch = group.get, group.get, group.get, group.get
group.delete, group.options, group.any = group.get, group.get, group.get

---@param methods evserve.Method|evserve.Method[]
---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(methods: evserve.Method|evserve.Method[], path: string, handler: evserve.Handler)
function group.route(methods, path, options, handler) end

--- Put a function around every route of the group and of the groups in it, inside of what app.use puts around them.
---@param middleware fun(req: evserve.Request, nxt: fun(req: evserve.Request?): evserve.Response): any, any, evserve.Headers?
function group.use(middleware) end

--- A group in the group.
---@param prefix string
---@return evserve.Group
function group.group(prefix) end

--- Routes under a prefix such as "/api", with middleware of their own.
---@param prefix string
---@return evserve.Group
function app.group(prefix) end

--- The address of the route that has this name: its path with the parameters filled in, percent-encoded.
---@param name string
---@param params table<string, string|number>?
---@param query table<string, string|number|boolean|(string|number|boolean)[]>?
---@return string
function app.url(name, params, query) end

--- Put a function around every Lua route. Its nxt() gives the response of what lies inside.
---@param middleware fun(req: evserve.Request, nxt: fun(req: evserve.Request?): evserve.Response): any, any, evserve.Headers?
function app.use(middleware) end

--- "error": fn(req, err) may answer in place of the 500. "start": called when the server starts. "stopping": called when a
--- stop or a reload begins, so that streams can end. "stop": called when nothing of the script runs any more. "memory": called
--- while lua_memory is full, before requests are refused, and after a run that wanted more than is free; once a second at most
--- when it lets nothing go: drop what the script can do without.
---@param event "start"|"stopping"|"stop"|"memory"
---@param fn fun()
---@overload fun(event: "error", fn: fun(req: evserve.Request, err: any): any, any, evserve.Headers?)
function app.on(event, fn) end

--- Wait, without holding up anybody else. Ends the handler when its client goes away meanwhile.
---@param duration evserve.Duration
function app.sleep(duration) end

--- Call a function once.
---@param delay evserve.Duration
---@param fn fun()
---@return evserve.Timer
function app.after(delay, fn) end

--- Call a function again and again. A run that is still going on when the next is due lets that one pass.
---@param interval evserve.Duration
---@param fn fun()
---@return evserve.Timer
function app.every(interval, fn) end

--- Call a function when the answer of the request at work is on its way, or lost. A server that stops waits for it.
---@param fn fun()
function app.defer(fn) end

--- Seconds of a clock that only runs forward, to measure with. os.time() tells the date.
---@return number
function app.now() end

--- Write a line to the log, of the values with spaces between them.
---@param level "error"|"warn"|"info"|"debug"
---@param ... any
function app.log(level, ...) end

---@return evserve.Stats
function app.stats() end

--- A text/html answer.
---@param text string
---@return evserve.Response
function app.html(text) end

--- A redirect. What an address may not have in it is percent-encoded; what is encoded already stays as it is.
---@param url string
---@param status (301|302|303|307|308)? 302 if not given
---@return evserve.Response
function app.redirect(url, status) end

---@class evserve.FileOptions
---@field root? string directory that path is below, and that it cannot leave; the one evserve was started in if not given
---@field type? string Content-Type; that of the file's name if not given
---@field download? string|true name under which browsers save it; true for the file's own
---@field cache? string max-age that clients are told, such as "1h"
---@field dotfiles? boolean a path may name dot files

--- A file, sent as static files are: conditions, ranges and HEAD work. What is not there is 404, what leads out of the root
--- 403, so path may come from a client.
---@param path string
---@param options evserve.FileOptions?
---@return evserve.Response
function app.file(path, options) end

---@class evserve.CookieAttributes
---@field path? string "/" if not given
---@field domain? string the host alone if not given
---@field max_age? string|0 such as "1h"; 0 deletes the cookie
---@field expires? number seconds since 1970, as os.time() gives them
---@field secure? boolean over HTTPS alone
---@field http_only? boolean not for scripts in the page
---@field same_site? "strict"|"lax"|"none"

--- The value of a Set-Cookie field.
---@param name string
---@param value string|number
---@param attributes evserve.CookieAttributes?
---@return string
function app.cookie(name, value, attributes) end

--- Return it to let the static files answer.
---@type evserve.Response
app.pass = {}

---@class evserve.Error an error that is an answer
---@field status integer
---@field body evserve.Body
---@field headers evserve.Headers?

--- Raise an error that, unless it is caught, is answered as if the handler had returned (status, body, headers).
--- Middleware around the handler gets it from nxt() as a response.
---@param status integer 400 to 599
---@param body evserve.Body? a short text that names the status if not given
---@param headers evserve.Headers?
function app.error(status, body, headers) end

--- Make text safe to stand in HTML, in quoted attributes too.
---@param text string|number
---@return string
function app.escape_html(text) end

---@class evserve.Json
app.json = {}

---@param value any
---@return string
function app.json.encode(value) end

--- The value; or nil and what is wrong with the text.
---@param text string
---@return any
---@return string?
function app.json.decode(text) end

--- Mark a table (a new one if none is given) as a JSON array, which matters when it is empty.
---@param list table?
---@return table
function app.json.array(list) end

--- What null is read as and written from.
---@type lightuserdata
app.json.null = nil

return app
