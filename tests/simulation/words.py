"""Words and names that both people and the auditor know."""

UNTRUSTED = "customers/"
STRANGER = "stranger: "  # begins every prompt of a stranger
PRIVATE = "private/.contract.jpg"  # what no image may use as its layer
SECRET = b"taken at home"  # in every picture's metadata
POISON = "poison"  # a prompt that Venice always refuses
UNKNOWN_MODEL = "no-such-model"
DEFAULT_MODEL = "firered-image-edit"
OTHER_MODEL = "qwen-image-2-edit"
