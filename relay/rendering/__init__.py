"""A chat and a folder of words -> a notification (`templates`): the chat as plain data, its words, and the sandbox that templates run in.

    chat -> story (who said what, who waited) -> describe (plain data) -> sandbox (Jinja) -> notification

`words` holds every word that the code itself says; all others stand in the template files. Both are English, and
come out in the reader's language through the catalogues of `relay.languages`.
"""
