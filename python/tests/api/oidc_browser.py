"""A browser in which a user logs in: `BROWSER="python oidc_browser.py USER PASSWORD %s"`."""

import http.cookiejar
import re
import sys
import urllib.parse
import urllib.request


def main(user, password, url):
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    opener = urllib.request.build_opener(cookies)
    page = opener.open(url)
    for fields in ({"login": user}, {"password": password}):
        hidden = re.search(r'name="csrf_token" value="([^"]+)"', page.read().decode())
        form = urllib.parse.urlencode({**fields, "csrf_token": hidden[1]}).encode()
        page = opener.open(page.url, form)  # and on, to the program that opened this browser
    page.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
