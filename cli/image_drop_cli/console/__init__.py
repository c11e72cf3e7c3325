"""The console: a page on this machine that drops images, shows results and decides about them.

It is a view of what the command line does. Everything that it finds out, plans or changes is a
function of `image_drop_cli` that a command calls as well.
"""
