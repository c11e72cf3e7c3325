"""Deploy, destroy: from the files of this installation to a stack in an AWS account."""
