"""Messages as the server would show them: close enough to judge an alert by, safe enough for any page.

Pure functions from the JSON that is sent to an HTML fragment. Whatever the JSON holds, the fragment has no
script, no style attribute, no form and no outside resource, so it can stand under the strictest
Content-Security-Policy.
"""
