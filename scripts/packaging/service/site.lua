-- The site of evserve.service. After a change: systemctl reload evserve (if the new script is broken, the old one goes
-- on). evserve --check /etc/evserve/site.lua says what is wrong. Examples: /usr/share/doc/evserve/EXAMPLES.md

local app = require "evserve"

app.listen "127.0.0.1:8080" -- ":80" is every address

app.set { access_log = "/var/log/evserve/access.log" }

-- Files of a directory that the user evserve can read:
-- app.static("/", "/var/www/html", { cache = "1m" })

-- HTTPS. The key must be readable by the user evserve; README.md, "HTTPS in three lines", has the rest.
-- app.listen ":443?tls"
-- app.tls { cert = "/etc/evserve/tls/fullchain.pem", key = "/etc/evserve/tls/privkey.pem" }

-- Behind a proxy: longer than the proxy keeps a connection idle, so that it is the proxy who closes it.
-- app.set { idle_timeout = "75s" }

app.health "/healthz" -- for balancers: 503 from the moment a stop begins

app.get("/", function()
    return "evserve works. Its site is /etc/evserve/site.lua\n"
end)
