"""Renders a chat with a folder of templates as a notification.

    chat -> story (who said what, who waited) -> describe (plain data) -> sandbox (Jinja) -> notification

`translation` has every text that the code adds; all others are in the template files. Both are English
and are translated by the catalogues of `relay.languages`.
"""
