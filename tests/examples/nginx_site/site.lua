local app = require "evserve"
app.redirect_https ":80"
app.listen ":443?tls"
app.tls { cert = "/etc/ssl/example.pem", key = "/etc/ssl/example-key.pem" }
app.set { unknown_host = 421 }

local www = app.host "www.example.org"
www.redirect_from("/*rest", "https://example.org/*rest")

local site = app.host "example.org"
site.static("/", "/var/www/example")
site.headers("/", { ["strict-transport-security"] = "max-age=31536000", ["x-frame-options"] = "DENY" })
site.error_page(404, "/var/www/example/404.html")
site.error_page({ 502, 504 }, "/var/www/example/sorry.html")
site.redirect_from("/blog/*rest", "/posts/*rest")
site.redirect_from("/contact", "/about.html")
site.cache("/", { ["*.css"] = "30d" })
site.cache("/images", { ["*"] = "365d" })
site.limit("/api", { rate = "10/s", burst = 20 })
site.proxy("/api", "http://127.0.0.1:3000", { max_body = "20M" })
site.basic_auth("/staff", "/etc/staff.htpasswd", { realm = "Staff" })
site.allow("/status", "10.0.0.0/8")

local files = app.host "files.example.org"
files.static("/", "/var/www/files", { list = true })
