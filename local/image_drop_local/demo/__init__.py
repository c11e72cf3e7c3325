"""`make demo`: photographs through the embedded stack, and a contact sheet."""
